"""Shards and texts that are there twice: they are learnt twice as often as told, and may stand in two splits.

A hash of 64 bits is kept for every text, and nothing else.
"""

import hashlib
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePath

import numpy as np

from mainspring.data.doctor.base import MAX_PLACES, Fault
from mainspring.data.doctor.view import View, messages_of, place_of
from mainspring.data.document import Document, stable_hash
from mainspring.data.shards import ShardSegment

MAX_SHARE = 0.005  # of texts that repeat another: what real data has, deduplicated or not much
ADVICE = "Deduplicate when the dataset is built (`dedup`), and look for a source that is named twice."


class Duplicated:
    """Two files of documents or ids with the same sum, or one text in 200 that stands there before."""

    name = "duplicated_shards"

    def __call__(self, view: View) -> Iterator[Fault]:
        files = self._same_files(view)
        yield from files
        hashes = array("Q", (each for _, each in _hashes(view)))
        if not hashes:
            return
        values = np.frombuffer(hashes, dtype=np.uint64)
        firsts = np.unique(values, return_index=True)[1]
        count = len(values) - len(firsts)
        if count > MAX_SHARE * len(values):
            repeats = np.setdiff1d(np.arange(len(values)), firsts, assume_unique=True)[:MAX_PLACES]
            yield Fault(
                check=self.name, where=", ".join(_names(view, repeats.tolist())),
                what="the same text stands there before",
                numbers={view.unit: count, "of": len(values)}, advice=ADVICE,
            )  # fmt: skip

    def _same_files(self, view: View) -> list[Fault]:
        suffix = ".ids" if view.shards else ".jsonl"
        by_sum: dict[str, list[str]] = {}
        for name, found in view.file_sums.items():
            if PurePath(name).suffix == suffix and PurePath(name).parts[0] in ("documents", "shards"):
                by_sum.setdefault(found, []).append(name)
        return [
            Fault(
                check=self.name, where=", ".join(names), what="these files hold the same, byte for byte",
                numbers={"files": len(names)}, advice=ADVICE,
            )
            for names in by_sum.values()
            if len(names) > 1
        ]  # fmt: skip


def _hashes(view: View) -> Iterator[tuple[str, int]]:
    """(place, hash) of what every document or segment teaches."""
    for _, document in view.each_document():
        yield document.id, stable_hash(_content(document))
    for _, index, segment in view.each_segment():
        yield place_of(index, segment), _hash_of(segment)


def _content(document: Document) -> str:
    turns = [f"{message.role}\0{message.content}" for message in messages_of(document)]
    return "\0".join([document.text, *turns])


def _hash_of(segment: ShardSegment) -> int:
    found = hashlib.blake2b(segment.ids.tobytes(), digest_size=8)
    found.update(segment.weight.tobytes())
    return int.from_bytes(found.digest(), "big")


def _names(view: View, indices: list[int]) -> list[str]:
    """The places of a few texts, found by going through them again."""
    wanted = set(indices)
    numbered = enumerate(islice(_hashes(view), max(indices) + 1))
    return [place for number, (place, _) in numbered if number in wanted]
