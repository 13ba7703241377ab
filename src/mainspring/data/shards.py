"""Reads token shards where they lie: files are mapped, a segment is a view into one of them.

Nothing is kept per segment in memory, so ten million of them cost what one costs.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mainspring.artifact import fingerprint_of, sha256_of
from mainspring.data.shard_files import IDS, INDEX, MANIFEST, WEIGHTS, Shard, ShardManifest, read_manifest
from mainspring.errors import ChecksumError, ConfigError, NotFoundError

MAX_OPEN = 256  # shards mapped at once: three files each, below the usual limit of 1,024
LENGTH = "length"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSegment:
    """ids, shape (T,), uint16 or uint32, and weight, shape (T,), uint8, are views that cannot be written."""

    ids: np.ndarray
    weight: np.ndarray
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mapped:
    """The files of a shard: ids (T,), weight (T,), starts (n + 1,), scores (n, k), ends of names (n,), names."""

    ids: np.ndarray
    weight: np.ndarray
    starts: np.ndarray
    scores: np.ndarray
    name_ends: np.ndarray
    names: np.ndarray

    def segment(self, row: int) -> ShardSegment:
        here = slice(int(self.starts[row]), int(self.starts[row + 1]))
        name = self.names[int(self.name_ends[row - 1]) if row else 0 : int(self.name_ends[row])]
        document = name.tobytes().decode("utf-8", "surrogatepass")
        return ShardSegment(ids=self.ids[here], weight=self.weight[here], document=document)


class Shards:
    """One split of a folder of token shards; any segment is read in the same short time.

    Args:
        folder: what `write_shards` filled.
        split: which of its splits.
        verify: read every file and compare its sum; otherwise sizes alone are compared.

    Raises:
        NotFoundError: no shards, or no such split.
        ChecksumError: a file that is missing, cut off or not the one that was written.

    """

    def __init__(self, folder: Path, split: str = "train", *, verify: bool = False) -> None:
        self.folder, self.split = folder, split
        self.manifest = read_manifest(folder)
        if split not in self.manifest.splits:
            there = ", ".join(self.manifest.splits) or "none"
            raise NotFoundError(f"{folder} has no split '{split}'; there is {there}.")
        found = self.manifest.splits[split]
        self.num_segments, self.num_tokens = found.num_segments, found.num_tokens
        self.trained_tokens = found.trained_tokens
        self._shards = found.shards
        self._firsts = np.cumsum([0, *(shard.num_segments for shard in found.shards)])
        for shard in found.shards:
            _check_counts(folder, shard, self.manifest)
            _check(folder, shard, verify=verify)
        self._mapped = functools.lru_cache(maxsize=MAX_OPEN)(self._map)

    @property
    def fingerprint(self) -> str:
        """A hash over all that decides which segments there are, in which order."""
        sums = [{what: file.sha256 for what, file in shard.files.items()} for shard in self._shards]
        return fingerprint_of([self.manifest.tokenizer, self.manifest.vocab_size, sums])

    def segment(self, index: int) -> ShardSegment:
        """The segment at an index below `num_segments`.

        Raises:
            NotFoundError: no such index.

        """
        if not 0 <= index < self.num_segments:
            raise NotFoundError(
                f"There is no segment {index:,} in the split '{self.split}' of {self.folder}; there are "
                f"{self.num_segments:,}, counted from 0."
            )
        number = int(np.searchsorted(self._firsts, index, side="right")) - 1
        return self._mapped(number).segment(index - int(self._firsts[number]))

    def find(self, document: str) -> list[int]:
        """Indices of the segments of a document; every name is looked at.

        Raises:
            NotFoundError: no segment comes from it.

        """
        wanted = np.frombuffer(document.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        found: list[int] = []
        for first, mapped in zip(self._firsts.tolist(), self._all(), strict=False):
            sizes = np.diff(mapped.name_ends, prepend=0)
            for row in np.flatnonzero(sizes == len(wanted)).tolist():
                end = int(mapped.name_ends[row])
                if np.array_equal(mapped.names[end - len(wanted) : end], wanted):
                    found.append(first + row)
        if not found:
            raise NotFoundError(
                f"No segment of the split '{self.split}' of {self.folder} comes from '{document}'."
            )
        return found

    def lengths(self, indices: np.ndarray) -> np.ndarray:
        """How many ids each of these segments has, int64."""
        indices = np.asarray(indices, dtype=np.int64)
        lengths = np.empty(len(indices), dtype=np.int64)
        numbers = np.searchsorted(self._firsts, indices, side="right") - 1
        for number in np.unique(numbers):
            here = numbers == number
            rows = indices[here] - self._firsts[number]
            starts = self._mapped(int(number)).starts
            lengths[here] = starts[rows + 1] - starts[rows]
        return lengths

    def scores(self, name: str) -> np.ndarray:
        """A number for every segment, float64, shape (num_segments,): its length, or a score that was kept.

        Raises:
            ConfigError: a score that was not kept, or that some segment has not.

        """
        if name == LENGTH:
            return np.concatenate([np.diff(each.starts) for each in self._all()]).astype(np.float64)
        kept = self.manifest.scores
        if name not in kept:
            raise ConfigError(
                f"The shards in {self.folder} keep no score '{name}'; they keep {', '.join([LENGTH, *kept])}. "
                "Name it in `scores` when they are made."
            )
        return np.concatenate([each.scores[:, kept.index(name)] for each in self._all()])

    def check_tokenizer(self, fingerprint: str, whose: str) -> None:
        """Raise ConfigError unless the ids were made by the tokenizer of this fingerprint."""
        if fingerprint != self.manifest.tokenizer:
            raise ConfigError(
                f"The shards in {self.folder} were made by the tokenizer {self.manifest.tokenizer[:12]}; {whose} "
                f"has {fingerprint[:12]}, to which their ids mean other text. Make shards with it: "
                "`mainspring data shard --tokenizer`."
            )

    def check_vocab(self, vocab_size: int, whose: str) -> None:
        """Raise ConfigError unless a model of that many ids knows every id that may stand in the shards."""
        if self.manifest.vocab_size > vocab_size:
            raise ConfigError(
                f"The shards in {self.folder} have a vocabulary of {self.manifest.vocab_size:,} ids; {whose} knows "
                f"{vocab_size:,}. Take a model that is as wide, or a smaller tokenizer."
            )

    def _all(self) -> Iterator[_Mapped]:
        return (self._mapped(number) for number in range(len(self._shards)))

    def _map(self, number: int) -> _Mapped:
        shard = self._shards[number]
        num_segments, num_scores = shard.num_segments, len(self.manifest.scores)
        id_type = np.dtype(self.manifest.id_type).newbyteorder("<")
        index = np.memmap(shard.path(self.folder, INDEX), dtype=np.uint8, mode="r")
        starts, rest = np.split(index, [8 * (num_segments + 1)])
        scores, name_ends, names = np.split(
            rest, [8 * num_segments * num_scores, 8 * num_segments * (num_scores + 1)]
        )
        weight = np.broadcast_to(np.uint8(1), shard.num_tokens)
        if WEIGHTS in shard.files:
            weight = _plain(np.memmap(shard.path(self.folder, WEIGHTS), dtype=np.uint8, mode="r"))
        return _Mapped(
            ids=_plain(np.memmap(shard.path(self.folder, IDS), dtype=id_type, mode="r")), weight=weight,
            starts=_plain(starts).view("<i8"), scores=_plain(scores).view("<f8").reshape(num_segments, num_scores),
            name_ends=_plain(name_ends).view("<i8"), names=_plain(names),
        )  # fmt: skip


def _plain(mapped: np.ndarray) -> np.ndarray:
    """The same memory without memmap's own bookkeeping, which makes every slice several times slower."""
    return mapped.view(np.ndarray)


def _check_counts(folder: Path, shard: Shard, manifest: ShardManifest) -> None:
    """Raise ChecksumError where the manifest tells sizes of files that its counts contradict."""
    index = 8 * (2 * shard.num_segments + 1 + shard.num_segments * len(manifest.scores))
    ids = np.dtype(manifest.id_type).itemsize * shard.num_tokens
    sizes = {what: file.size_bytes for what, file in shard.files.items()}
    if (
        sizes.get(IDS) != ids
        or sizes.get(INDEX, 0) < index
        or sizes.get(WEIGHTS, shard.num_tokens) != shard.num_tokens
    ):
        raise ChecksumError(
            f"{folder / MANIFEST} is damaged: {shard.num_segments:,} segments of {shard.num_tokens:,} ids are not what "
            f"files of {sizes} bytes hold. Make the shards again."
        )


def _check(folder: Path, shard: Shard, *, verify: bool) -> None:
    for what, file in shard.files.items():
        path = shard.path(folder, what)
        size = path.stat().st_size if path.exists() else -1
        if size != file.size_bytes:
            found = "is missing" if size < 0 else f"has {size:,} bytes, expected {file.size_bytes:,}"
            raise ChecksumError(f"{path} {found}. Restore the file or make the shards again.")
        if verify and (sum_ := sha256_of(path)) != file.sha256:
            raise ChecksumError(
                f"{path} is not the file written: sha256 {sum_[:16]}, expected {file.sha256[:16]}. "
                "Restore the file or make the shards again."
            )
