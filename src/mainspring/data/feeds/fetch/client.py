"""Fetches pages as a good guest: asks robots.txt first, waits between two fetches, looks at every redirect.

URL -> form -> host asked for -> robots.txt -> wait -> address checked -> request -> redirect? -> Page
"""

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

from pydantic import Field

from mainspring.config import Config
from mainspring.data.feeds.fetch.addresses import Resolve, resolved
from mainspring.data.feeds.fetch.connection import Response, request
from mainspring.data.feeds.fetch.robots import EVERYTHING, NOTHING, Robots, product, read_robots
from mainspring.data.feeds.fetch.urls import normal
from mainspring.errors import DocumentError

MAX_REDIRECTS = 5
MAX_DELAY_S = 60
MAX_TRIES = 3
ROBOTS_BYTES = 2_000_000
REDIRECTS = (301, 302, 303, 307, 308)
BUSY = (429, 503)


class Manners(Config):
    """How pages are fetched."""

    rate_per_s: float = Field(
        default=1.0, gt=0, description="Fetches a second from one host; fewer where its robots.txt says so."
    )
    timeout_s: float = Field(default=30.0, gt=0, description="A page that takes longer is rejected.")
    max_bytes: int = Field(
        default=10_000_000, ge=1, description="A larger page is rejected, packed or unpacked."
    )
    user_agent: str = Field(
        default="mainspring",
        min_length=1,
        description="How the fetcher introduces itself; an address to write to is kind.",
    )
    allow_private: bool = Field(
        default=False,
        description="Whether addresses of private networks and of this machine may be fetched from.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page and the URL where it was found in the end."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Client:
    """Fetches one page after the other; knows of every host its rules and when it was last asked."""

    def __init__(
        self, manners: Manners, *, resolve: Resolve = socket.getaddrinfo, tls: ssl.SSLContext | None = None
    ) -> None:
        self.manners = manners
        self.resolve = resolve
        self.tls = tls
        self._robots: dict[tuple[str, str], Robots] = {}
        self._next_s: dict[str, float] = {}

    def get(self, url: str, is_wanted: Callable[[str], bool]) -> Page:
        """A page, over up to five redirects, each to a URL that `is_wanted`.

        Raises:
            DocumentError: why there is none.

        """

        def ask(place: str) -> Response:
            if not is_wanted(place):
                raise DocumentError(f"it leads to {place}, which is not asked for")
            return self._polite(urlsplit(place))

        place, response = _followed(normal(url), ask)
        if response.status != 200:
            raise DocumentError(f"the server answers {response.status}")
        return Page(url=place, headers=response.headers, body=response.body)

    def _polite(self, url: SplitResult) -> Response:
        """One answer, after robots.txt was asked; a busy server is asked again, when it says."""
        robots = self._rules(url)
        if not robots.allows(url.path + (f"?{url.query}" if url.query else "")):
            raise DocumentError("the host's robots.txt does not allow it")
        if robots.delay_s > MAX_DELAY_S:
            raise DocumentError(f"the host's robots.txt asks for {robots.delay_s:g} s between two fetches")
        response = self._request(url, robots.delay_s, self.manners.max_bytes)
        for _ in range(MAX_TRIES - 1):
            told = response.headers.get("retry-after", "")
            wait_s = int(told) if told.isdigit() and len(told) < 9 else MAX_DELAY_S + 1
            if response.status not in BUSY or wait_s > MAX_DELAY_S:
                break
            self._next_s[url.netloc] = time.monotonic() + wait_s
            response = self._request(url, robots.delay_s, self.manners.max_bytes)
        return response

    def _rules(self, url: SplitResult) -> Robots:
        """The rules of a host, fetched once. Without a file all is allowed, without an answer nothing is."""
        origin = (url.scheme, url.netloc)
        if origin not in self._robots:
            try:
                self._robots[origin] = self._fetched_rules(f"{url.scheme}://{url.netloc}/robots.txt")
            except DocumentError as error:
                raise DocumentError(f"its robots.txt cannot be asked: {error}") from error
        return self._robots[origin]

    def _fetched_rules(self, place: str) -> Robots:
        _, response = _followed(place, lambda url: self._request(urlsplit(url), 0.0, ROBOTS_BYTES))
        if response.status == 200:
            return read_robots(response.body, product(self.manners.user_agent))
        return EVERYTHING if 300 <= response.status < 500 and response.status != 429 else NOTHING

    def _request(self, url: SplitResult, delay_s: float, max_bytes: int) -> Response:
        """One request to a checked address, not too soon after the last one to the host."""
        manners = self.manners
        time.sleep(max(0.0, self._next_s.get(url.netloc, 0.0) - time.monotonic()))
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = resolved(
            url.hostname or "", port, allow_private=manners.allow_private, resolve=self.resolve
        )
        headers = {"User-Agent": manners.user_agent, "Accept-Encoding": "gzip", "Connection": "close"}
        try:
            return request(
                url,
                addresses,
                headers=headers,
                timeout_s=manners.timeout_s,
                max_bytes=max_bytes,
                tls=self.tls,
            )
        finally:
            self._next_s[url.netloc] = time.monotonic() + max(1 / manners.rate_per_s, delay_s)


def _followed(url: str, ask: Callable[[str], Response]) -> tuple[str, Response]:
    """The answer that is no redirect any more, and the URL that gave it."""
    for _ in range(MAX_REDIRECTS + 1):
        response = ask(url)
        if response.status not in REDIRECTS:
            return url, response
        url = normal(urljoin(url, response.headers.get("location", "")))
    raise DocumentError(f"it leads on more than {MAX_REDIRECTS} times, at last to {url}")
