"""Pages brought into a snapshot: each in a file, and an index of them all."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path

import msgspec

from mainspring.artifact import sync
from mainspring.data.feeds.fetch.client import Client, Page
from mainspring.data.feeds.fetch.connection import Unpacker
from mainspring.data.feeds.fetch.crawl import Crawl, Entry, Reach
from mainspring.data.feeds.fetch.kinds import charset_of, format_of
from mainspring.data.feeds.fetch.urls import is_sitemap, links, places
from mainspring.data.feeds.snapshot import Snapshot
from mainspring.errors import DocumentError

GZIP = b"\x1f\x8b"


def bring(reach: Reach, client: Client, snapshot: Snapshot) -> None:
    """Fetch what is not there yet; after a kill the page that was being fetched is fetched once more.

    Raises:
        DocumentError: not one page could be fetched; it is tried anew the next time.

    """
    crawl, last = Crawl(reach), Entry(url="")
    snapshot.recover()
    has_pages = False
    for entry in read_index(snapshot.path):
        if (crawl.next() or ("",))[0] != entry.url:
            raise DocumentError(f"{snapshot.path} is the index of another crawl. Delete {snapshot.folder}.")
        crawl.take(entry)
        has_pages, last = has_pages or bool(entry.file), entry
    while todo := crawl.next():
        last = _fetched(*todo, crawl, client, snapshot.folder)
        snapshot.append([msgspec.json.encode(last) + b"\n"])
        crawl.take(last)
        has_pages = has_pages or bool(last.file)
    if not has_pages:
        snapshot.restart()
        raise DocumentError(
            f"Not one page could be fetched. The last was {last.url}: {last.reason or 'a sitemap'}."
        )
    snapshot.finish()


def read_index(path: Path) -> list[Entry]:
    """The entries of a snapshot in the order of their fetching."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Entry) for line in path.read_bytes().splitlines()]


def _fetched(url: str, depth: int, crawl: Crawl, client: Client, folder: Path) -> Entry:
    try:
        page = client.get(url, partial(crawl.is_wanted, depth=depth))
        if page.url in crawl.places:
            reason = f"it leads to {page.url}, which is there already"
            return Entry(url=url, depth=depth, reason=reason)
        if page.url.endswith(".gz") and page.body.startswith(GZIP):
            page = replace(page, body=Unpacker(client.manners.max_bytes).feed(page.body))
        if is_sitemap(page.body):
            found = crawl.chosen(places(page.body), page.url)
            return Entry(url=url, depth=depth, at=page.url, is_list=True, found=found)
        entry = _kept(page, folder / "pages")
    except DocumentError as error:
        return Entry(url=url, depth=depth, reason=str(error))
    leads_on = entry.format == "html" and depth < crawl.reach.depth
    found = crawl.chosen(links(page.body, page.url), page.url) if leads_on else ()
    return msgspec.structs.replace(entry, url=url, depth=depth, found=found)


def _kept(page: Page, folder: Path) -> Entry:
    """A page in its file."""
    content_type = page.headers.get("content-type", "")
    format_name = format_of(content_type, page.url)
    folder.mkdir(exist_ok=True)
    file = folder / hashlib.sha256(page.url.encode()).hexdigest()[:32]
    file.write_bytes(page.body)
    sync(file)
    return Entry(
        url=page.url, at=page.url, file=file.name, size_bytes=len(page.body),
        sha256=hashlib.sha256(page.body).hexdigest(), format=format_name,
        charset=charset_of(content_type), time=_time(page.headers),
    )  # fmt: skip


def _time(headers: Mapping[str, str]) -> str:
    """When a page was last changed, as its server says, in ISO 8601; "" where it says nothing."""
    try:
        return parsedate_to_datetime(headers["last-modified"]).astimezone(UTC).isoformat()
    except (KeyError, ValueError, TypeError, OverflowError):
        return ""
