"""Pages of the web as documents: fetched once, politely, and then read like files."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.data.document import Document
from mainspring.data.feeds.base import FeedSettings, Part, grouped
from mainspring.data.feeds.fetch.bring import bring, read_index
from mainspring.data.feeds.fetch.client import Client, Manners
from mainspring.data.feeds.fetch.crawl import Entry, Reach
from mainspring.data.feeds.fetch.urls import normal
from mainspring.data.feeds.parsing import parsed
from mainspring.data.feeds.snapshot import Snapshot
from mainspring.data.sources import Rejected, Source

BOM = b"\xef\xbb\xbf"


class Settings(FeedSettings, Manners):
    """What can be set for pages of the web."""

    kind: Literal["web"] = Field(default="web", description="Pages of the web.")
    urls: tuple[str, ...] = Field(min_length=1, description="Pages, or sitemaps that list them.")
    depth: int = Field(
        default=0, ge=0, description="How many links away from these pages others are fetched."
    )
    is_same_host: bool = Field(default=True, description="Follow links only to the hosts of `urls`.")
    max_pages: int = Field(default=1_000, ge=1, description="No more pages than these are asked for.")
    is_main_text: bool = Field(
        default=True, description="Of pages in HTML, take the main text without menus and advertisements."
    )


class Feed:
    """The pages at some URLs, in the order in which they are found."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.reach = Reach(
            urls=tuple(normal(url) for url in settings.urls), depth=settings.depth,
            is_same_host=settings.is_same_host, max_pages=settings.max_pages,
        )  # fmt: skip
        self.name = settings.name or urlsplit(self.reach.urls[0]).netloc
        self._snapshot: Snapshot | None = None

    def prepare(self, folder: Path) -> None:
        """Fetch the pages into `folder`, or those that are missing after a kill."""
        snapshot = Snapshot(folder, self.name, self._brought())
        if not snapshot.is_done():
            bring(self.reach, Client(self.settings), snapshot)
        self._snapshot = snapshot

    def parts(self) -> list[Part]:
        path = self._prepared().path
        names = grouped(
            ((str(i), entry.size_bytes) for i, entry in enumerate(self._entries())), self.settings.part_bytes
        )
        return [Part(path=str(path), start=int(each[0]), end=int(each[-1]) + 1) for each in names]

    def read(self, part: Part) -> Iterator[Document | Rejected]:
        for entry in self._entries()[part.start : part.end]:
            if entry.reason:
                yield Rejected(name=f"{self.name}#{entry.url}", reason=entry.reason)
            elif not entry.is_list:
                yield self._document(entry)

    def fingerprint(self) -> str:
        identity = {**self._brought(), "is_main_text": self.settings.is_main_text}
        return fingerprint_of(["web", self.name, identity, self._prepared().sha256()])

    def _brought(self) -> dict[str, Any]:
        """What decides which pages are brought: not how fast."""
        skipped = {"name", "part_bytes", "is_main_text", "rate_per_s", "timeout_s"}
        return self.settings.model_dump(mode="json", exclude=skipped)

    def _document(self, entry: Entry) -> Document | Rejected:
        file = self._prepared().folder / "pages" / entry.file
        data = file.read_bytes() if file.exists() else b""
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            reason = f"{file} is not what was fetched; delete its folder to fetch anew"
            return Rejected(name=f"{self.name}#{entry.url}", reason=reason)
        source = Source(
            name=f"{self.name}#{entry.url}", format=entry.format, data=_in_utf8(data, entry.charset)
        )
        return parsed(
            source, feed=self.name, time=entry.time, max_bytes=self.settings.max_bytes,
            is_main_text=self.settings.is_main_text, url=entry.at,
        )  # fmt: skip

    def _entries(self) -> list[Entry]:
        return read_index(self._prepared().path)

    def _prepared(self) -> Snapshot:
        assert self._snapshot is not None, "prepare comes first"
        return self._snapshot


def _in_utf8(data: bytes, charset: str) -> bytes:
    """Text that its server says is in another encoding, in UTF-8 and marked so: the server's word comes first."""
    if charset in ("", "utf-8", "utf8"):
        return data
    try:
        return BOM + data.decode(charset).encode()
    except (LookupError, ValueError):  # then the page says so itself, or it is rejected
        return data
