"""Folders that a worker leaves: whole or not there at all, whoever is killed at whatever moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from mainspring.artifact import sync, temporary_folder
from mainspring.data.counts import Counts

DOCUMENTS, DROPPED, CHANGED, SAMPLES = "documents.jsonl", "dropped.jsonl", "changed.jsonl", "samples.jsonl"
PLACES = "places.rows"  # where in DOCUMENTS each line begins, uint64
DONE = "done.json"


class PartDone(msgspec.Struct, frozen=True, kw_only=True):
    """What a part came to: how many documents went on, and all counts."""

    documents: int
    counts: Counts


def read_done(folder: Path) -> PartDone:
    """What the worker that left this folder counted."""
    return msgspec.json.decode((folder / DONE).read_bytes(), type=PartDone)


@contextmanager
def publishing(target: Path) -> Iterator[Path]:
    """A folder to fill, which is `target` once the block has ended well and all of it is on the disk.

    Two that make the same target leave the same, so the one that comes later changes nothing.
    """
    with temporary_folder(target.parent) as folder:
        yield folder
        for path in folder.iterdir():
            sync(path)
        sync(folder)
        try:
            folder.rename(target)
        except OSError:
            if not target.exists():
                raise
        sync(target.parent)
