"""The order in which pages are fetched: the URLs that are given, then what they lead to, level by level.

It follows from what the pages before led to and from nothing else, so that the index of a crawl that broke off,
read again, leads to the place where it goes on.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of the index: a page in `file`, or the `reason` why there is none.

    `at` is the URL where redirects led in the end, `found` are those that the page leads to; a sitemap
    (`is_list`) is no document itself.
    """

    url: str
    depth: int = 0
    at: str = ""
    file: str = ""
    size_bytes: int = 0
    sha256: str = ""
    format: str = ""
    charset: str = ""
    time: str = ""
    reason: str = ""
    is_list: bool = False
    found: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where a crawl begins and how far it goes."""

    urls: tuple[str, ...]
    depth: int
    is_same_host: bool
    max_pages: int


class Crawl:
    """What is to be fetched still, and what has been seen."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach
        self.waiting = deque((url, 0) for url in dict.fromkeys(reach.urls))
        self.seen = set(reach.urls)
        self.places: set[str] = set()
        self.hosts = {urlsplit(url).netloc for url in reach.urls}
        self.num_done = 0

    def next(self) -> tuple[str, int] | None:
        """(URL, depth) of the next page, or None at the end."""
        return self.waiting[0] if self.waiting and self.num_done < self.reach.max_pages else None

    def take(self, entry: Entry) -> None:
        """Note what came of the next page."""
        self.waiting.popleft()
        self.num_done += 1
        if entry.at:
            self.places.add(entry.at)
            if entry.depth == 0:
                self.hosts.add(urlsplit(entry.at).netloc)
        self.seen |= set(entry.found)
        self.waiting += [(url, entry.depth if entry.is_list else entry.depth + 1) for url in entry.found]

    def chosen(self, urls: Iterable[str], at: str) -> tuple[str, ...]:
        """Of what the page at `at` leads to, what is to be fetched: not seen yet, and on a host of the crawl."""
        hosts = self.hosts | {urlsplit(at).netloc}
        wanted = (url for url in urls if url not in self.seen and url not in self.places and url != at)
        near = [url for url in wanted if not self.reach.is_same_host or urlsplit(url).netloc in hosts]
        return tuple(near[: max(0, self.reach.max_pages - len(self.seen))])

    def is_wanted(self, url: str, depth: int) -> bool:
        """Whether a redirect of a page at `depth` may be followed."""
        return depth == 0 or not self.reach.is_same_host or urlsplit(url).netloc in self.hosts
