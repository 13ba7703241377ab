"""Which documents go for the sake of an earlier one, and which passages: found once over the signatures of all parts.

    PART/exact.rows, near.rows ... -> clusters -> keeper.npy, decided.npy
    PART/spans.rows of what stays  -> repeats  -> places.rows

What is in memory is about 17 bytes a document; the rest lies in files.
"""

import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property
from heapq import nlargest
from pathlib import Path

import msgspec
import numpy as np

from mainspring.data import same
from mainspring.data.dedup.base import Sameness
from mainspring.data.dedup.places import PIECE_BITS, Places, Repeated
from mainspring.data.part_files import publishing

STAYS = -1
NUM_LARGEST = 10
KEEPER, DECIDED, FOUND, PLACES = "keeper.npy", "decided.npy", "found.json", "places.rows"


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """How many documents are the same, and the number of the one that is kept."""

    documents: int
    kept: int


class Clusters(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind found. `sizes` counts clusters by how many documents they have."""

    clusters: int
    documents: int
    sizes: dict[str, int]
    largest: list[Cluster]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What all kinds found; `passages` are to be cut, `repeated` names those that stand there most often."""

    clusters: dict[str, Clusters]
    passages: int = 0
    repeated: list[Repeated] = []


class Duplicates:
    """What was found, as workers read it: mapped, so that it is in memory once for all of them."""

    def __init__(self, folder: Path, kinds: Sequence[str]) -> None:
        self._folder, self._kinds = folder, list(kinds)

    @cached_property
    def places(self) -> Places:
        """Where passages are to be cut."""
        return Places(self._folder / PLACES, ())

    def keeper_of(self, number: int) -> tuple[int, str] | None:
        """The document that is kept for this one and the kind that says so; None where it stays itself."""
        keeper = int(self._keeper[number])
        return None if keeper == STAYS else (keeper, self._kinds[int(self._decided[number])])

    @cached_property
    def _keeper(self) -> np.ndarray:
        return np.load(self._folder / KEEPER, mmap_mode="r")

    @cached_property
    def _decided(self) -> np.ndarray:
        return np.load(self._folder / DECIDED, mmap_mode="r")


def find(kinds: same.Kinds, folders: Sequence[Path], counts: Sequence[int], target: Path) -> Found:
    """Look over the signatures of all parts, which have `counts` documents, and leave what is found in `target`."""
    if not target.exists():
        with publishing(target) as folder:
            found = _find(kinds, folders, counts, folder)
            (folder / FOUND).write_bytes(msgspec.json.encode(found))
    return msgspec.json.decode((target / FOUND).read_bytes(), type=Found)


def _find(kinds: same.Kinds, folders: Sequence[Path], counts: Sequence[int], folder: Path) -> Found:
    firsts = np.concatenate([[0], np.cumsum(np.asarray(counts, np.int64))])
    keeper = np.full(int(firsts[-1]), STAYS, np.int64)
    decided = np.zeros(len(keeper), np.uint8)
    clusters = {}
    for number, kind in enumerate(same.make_whole(kinds)):
        tally = _Tally()
        for members in kind.clusters(_signatures(folders, kind), folder / kind.name):
            tally.add(members)
            later = np.asarray(members[1:])
            fresh = later[keeper[later] == STAYS]
            keeper[fresh], decided[fresh] = members[0], number
        clusters[kind.name] = tally.clusters()
        shutil.rmtree(folder / kind.name, ignore_errors=True)
    _follow(keeper)
    np.save(folder / KEEPER, keeper)
    np.save(folder / DECIDED, decided)
    spans = same.make_spans(kinds)
    if spans is None:
        return Found(clusters=clusters)
    places = spans.repeats(_passages(folders, firsts, keeper, spans.width), folder)
    assert places.path == folder / PLACES, "workers look for it there"
    return Found(clusters=clusters, passages=places.count, repeated=list(places.most[:NUM_LARGEST]))


def _signatures(folders: Sequence[Path], kind: Sameness) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the first document, signatures) of part after part."""
    first = 0
    for folder in folders:
        rows = (
            np.fromfile(folder / same.rows_file(kind.name), "<u8").astype(np.uint64).reshape(-1, kind.width)
        )
        yield first, rows
        first += len(rows)


def _passages(
    folders: Sequence[Path], firsts: np.ndarray, keeper: np.ndarray, width: int
) -> Iterator[np.ndarray]:
    """Signatures of the passages of all documents that stay, with their numbers in the whole."""
    for folder, first in zip(folders, firsts, strict=False):
        rows = np.fromfile(folder / same.rows_file(same.SPANS), "<u8").astype(np.uint64).reshape(-1, width)
        rows[:, -1] += np.uint64(int(first) << PIECE_BITS)
        yield rows[keeper[(rows[:, -1] >> np.uint64(PIECE_BITS)).astype(np.int64)] == STAYS]


def _follow(keeper: np.ndarray) -> None:
    """Let a document that goes for the sake of one that goes, too, go for the sake of the one that stays."""
    while True:
        going = np.flatnonzero(keeper != STAYS)
        going = going[keeper[keeper[going]] != STAYS]
        if not len(going):
            return
        keeper[going] = keeper[keeper[going]]


class _Tally:
    """What is said of clusters, without keeping them."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._largest: list[tuple[int, int]] = []

    def add(self, members: Sequence[int]) -> None:
        self._sizes[len(members)] = self._sizes.get(len(members), 0) + 1
        self._largest = nlargest(NUM_LARGEST, [*self._largest, (len(members), -members[0])])

    def clusters(self) -> Clusters:
        sizes = dict(sorted(self._sizes.items()))
        return Clusters(
            clusters=sum(sizes.values()),
            documents=sum(size * count for size, count in sizes.items()),
            sizes={str(size): count for size, count in sizes.items()},
            largest=[Cluster(documents=size, kept=-first) for size, first in self._largest],
        )
