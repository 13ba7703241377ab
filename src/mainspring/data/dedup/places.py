"""Where repeated spans lie: a file of places in order, and the spans that are repeated most.

A place is one number, document << 24 | piece. What came out of the grouping is unordered and may be larger
than memory, so it is split by document first, and each part is sorted by itself:

    pairs -> later.rows -> one file for each stretch of documents -> sorted -> places.rows
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mainspring.data.dedup.groups import BYTES, Pairs

PIECE_BITS = 24
"""Of a place; pieces of a document behind the first 16 million are never cut."""
PIECE_MASK = np.uint64((1 << PIECE_BITS) - 1)
MAX_TALLIED = 100_000
MAX_PARTS = 64
NUM_MOST = 100


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """A span that is repeated: where it stands first, and how many more times it stands there."""

    document: int
    piece: int
    times: int


class Places:
    """Places in ascending order, in a file that workers read by themselves."""

    def __init__(self, path: Path, most: Sequence[Repeated]) -> None:
        self.path = path
        self.most = tuple(most)
        """The most repeated spans, most often first. Exact for fewer than 100,000 different ones; beyond
        that, rare ones are forgotten on the way."""
        self.count = path.stat().st_size // BYTES
        self._rows: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_rows": None}  # what is mapped here is mapped anew in a worker

    def of(self, number: int) -> np.ndarray:
        """Pieces of document `number` that stood there before, ascending, int64."""
        if not self.count:
            return np.empty(0, np.int64)
        if self._rows is None:
            self._rows = np.memmap(self.path, np.uint64, "r")
        edges = np.array([number << PIECE_BITS, (number + 1) << PIECE_BITS], np.uint64)
        start, end = np.searchsorted(self._rows, edges)
        return (self._rows[start:end] & PIECE_MASK).astype(np.int64)


def write_places(pairs: Iterable[Pairs], folder: Path, memory_bytes: int) -> Places:
    """Sort the later one of every pair into `folder`/places.rows, and count the first ones."""
    tally: Counter[int] = Counter()
    largest, unsorted = 0, folder / "later.rows"
    with unsorted.open("wb") as stream:
        for first, later in pairs:
            later.tofile(stream)
            largest = max(largest, int(later.max(initial=0)))
            _count(tally, first, later)
    path = folder / "places.rows"
    _sort(unsorted, path, largest, memory_bytes)
    unsorted.unlink()
    most = [
        Repeated(document=place >> PIECE_BITS, piece=place & int(PIECE_MASK), times=times)
        for place, times in tally.most_common(NUM_MOST)
    ]
    return Places(path, most)


def _count(tally: Counter[int], first: np.ndarray, later: np.ndarray) -> None:
    """Add how often each first one is repeated; one that turns out to be a later one itself hands on its count."""
    known = np.fromiter(tally, np.uint64, len(tally))
    is_handed = np.isin(later, known)
    for place, successor in zip(later[is_handed].tolist(), first[is_handed].tolist(), strict=True):
        tally[successor] += tally.pop(place)
    places, times = np.unique(first, return_counts=True)
    if len(places) > MAX_TALLIED:
        heaviest = np.argpartition(times, -MAX_TALLIED)[-MAX_TALLIED:]
        places, times = places[heaviest], times[heaviest]
    tally.update(dict(zip(places.tolist(), times.tolist(), strict=True)))
    if len(tally) > MAX_TALLIED:
        for place, _ in tally.most_common()[MAX_TALLIED // 2 :]:
            del tally[place]


def _sort(unsorted: Path, path: Path, largest: int, memory_bytes: int) -> None:
    """Split by document until a part fits into memory; parts follow each other in order."""
    chunk = max(2, memory_bytes // (4 * BYTES))
    num_rows = unsorted.stat().st_size // BYTES
    with path.open("wb") as stream:
        if num_rows <= chunk:
            np.sort(np.fromfile(unsorted, np.uint64)).tofile(stream)
            return
        for part in _split(unsorted, 0, largest, chunk):
            np.sort(np.fromfile(part, np.uint64)).tofile(stream)
            part.unlink()


def _split(path: Path, least: int, largest: int, chunk: int) -> Iterable[Path]:
    """Files of places in ascending stretches, each of at most `chunk` places."""
    num_parts = min(MAX_PARTS, 2 * path.stat().st_size // BYTES // chunk)
    width = (largest - least) // num_parts + 1
    parts = [path.with_name(f"{path.name}.{number}") for number in range(num_parts)]
    files = [part.open("wb") for part in parts]
    try:
        with path.open("rb") as stream:
            while len(places := np.fromfile(stream, np.uint64, chunk)):
                belongs = (places - np.uint64(least)) // np.uint64(width)
                for number, file in enumerate(files):
                    places[belongs == number].tofile(file)
    finally:
        for file in files:
            file.close()
    for number, part in enumerate(parts):
        if part.stat().st_size // BYTES <= chunk:
            yield part
        else:
            begin = least + number * width
            yield from _split(part, begin, begin + width - 1, chunk)
            part.unlink()
