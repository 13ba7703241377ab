"""What tests of feeds share: all that a feed reads, and the same in a pool of processes."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec

from mainspring.data.document import Document
from mainspring.data.feeds.base import Feed, make
from mainspring.data.sources import Rejected


def read_all(settings: dict, folder: Path = Path()) -> list[Document | Rejected]:
    """All documents of a feed, part after part."""
    feed = make(settings)
    feed.prepare(folder)
    return [each for part in feed.parts() for each in feed.read(part)]


def documents(settings: dict, folder: Path = Path()) -> list[Document]:
    """All documents of a feed that rejects nothing."""
    found = read_all(settings, folder)
    assert all(isinstance(each, Document) for each in found), found
    return found  # type: ignore[return-value]


def read_as_sent(feed: Feed) -> list[Document | Rejected]:
    """All documents, each part read by a feed that was pickled, as it would be in a worker."""
    return [each for part in feed.parts() for each in pickle.loads(pickle.dumps(feed)).read(part)]


def _read_part(feed: Feed, part: bytes) -> list[Document | Rejected]:
    from mainspring.data.feeds.base import Part

    return list(feed.read(msgspec.json.decode(part, type=Part)))


def read_in_pool(feed: Feed) -> list[Document | Rejected]:
    """All documents, read by two fresh processes; the parts travel as JSON, as they would in a plan."""
    parts = [msgspec.json.encode(part) for part in feed.parts()]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return [each for found in pool.map(_read_part, [feed] * len(parts), parts) for each in found]
