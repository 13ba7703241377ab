"""Pages brought into a snapshot: each in a file, and an index of them all."""

import hashlib
from collections.abc import Mapping
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
            raise DocumentError(f"it leads to {page.url}, which is there already")
        return _kept(url, depth, page, crawl, client, folder)
    except DocumentError as error:
        return Entry(url=url, depth=depth, reason=str(error))


def _kept(url: str, depth: int, page: Page, crawl: Crawl, client: Client, folder: Path) -> Entry:
    """A page in its file, with what it leads to; of a sitemap only that."""
    body = page.body
    if page.url.endswith(".gz") and body.startswith(GZIP):
        body = Unpacker(client.manners.max_bytes).feed(body)
    if is_sitemap(body):
        found = crawl.chosen(places(body), page.url)
        return Entry(url=url, depth=depth, at=page.url, is_list=True, found=found)
    content_type = page.headers.get("content-type", "")
    format_name = format_of(content_type, page.url)
    leads_on = format_name == "html" and depth < crawl.reach.depth
    file = folder / "pages" / hashlib.sha256(page.url.encode()).hexdigest()[:32]
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(body)
    sync(file)
    return Entry(
        url=url, depth=depth, at=page.url, file=file.name, size_bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest(), format=format_name, charset=charset_of(content_type),
        time=_time(page.headers), found=crawl.chosen(links(body, page.url), page.url) if leads_on else (),
    )  # fmt: skip


def _time(headers: Mapping[str, str]) -> str:
    """When a page was last changed, as its server says, in ISO 8601; "" where it says nothing."""
    try:
        return parsedate_to_datetime(headers["last-modified"]).astimezone(UTC).isoformat()
    except (KeyError, ValueError, TypeError, OverflowError):
        return ""
