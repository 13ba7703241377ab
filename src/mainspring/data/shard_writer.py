"""Writes segments of token ids into shards of bounded size, as a stream: memory holds one shard's index."""

import hashlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import numpy as np

from mainspring.artifact import File
from mainspring.data.shard_files import (
    IDS,
    INDEX,
    MANIFEST,
    WEIGHTS,
    IdType,
    Shard,
    ShardManifest,
    Split,
    read_manifest,
    write_manifest,
)
from mainspring.errors import ConfigError, UserError

MAX_WEIGHT = 255


class ShardWriter:
    """Writes one split; what was added counts once the `with` block ends without an error.

    Args:
        folder: where the shards go; other splits in it must be of the same tokenizer.
        split: the name of the split.
        tokenizer: the fingerprint of what made the ids.
        vocab_size: every id is below it.
        id_type: of an id in the files.
        scores: names of the numbers that each segment comes with.
        max_tokens: ids of a shard; one longer segment has a shard of its own.

    Raises:
        UserError: the folder holds this split already.
        ConfigError: other splits there have another tokenizer, type or other scores.

    """

    def __init__(
        self,
        folder: Path,
        split: str,
        *,
        tokenizer: str,
        vocab_size: int,
        id_type: IdType,
        scores: Sequence[str] = (),
        max_tokens: int = 2**27,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._manifest = ShardManifest(
            tokenizer=tokenizer, vocab_size=vocab_size, id_type=id_type, scores=list(scores)
        )
        self._others = _other_splits(folder, split, self._manifest)
        self._folder, self._name, self._max_tokens = folder, split, max_tokens
        self._shards: list[Shard] = []
        self._open: _OpenShard | None = None
        self._trained = 0

    @property
    def split(self) -> Split:
        """What was written."""
        return Split(
            num_segments=sum(shard.num_segments for shard in self._shards),
            num_tokens=sum(shard.num_tokens for shard in self._shards),
            trained_tokens=self._trained, shards=self._shards,
        )  # fmt: skip

    def add(
        self, ids: Sequence[int], weight: Sequence[int] | None, document: str, scores: Sequence[float] = ()
    ) -> None:
        """Append a segment; weight None means 1 for every id.

        Raises:
            ConfigError: an id outside the vocabulary, a weight outside 0 to 255, another number of scores.

        """
        ids_T = np.asarray(ids, dtype=np.int64)
        self._check_ids(ids_T, document)
        if len(scores) != len(self._manifest.scores):
            names = ", ".join(self._manifest.scores) or "none"
            raise ConfigError(f"{document} comes with {len(scores)} scores; the shards keep {names}.")
        weight_T = None if weight is None else np.asarray(weight, dtype=np.int64)
        if weight_T is not None:
            _check_weight(weight_T, len(ids_T), document)
        if self._open is not None and self._open.num_tokens + len(ids_T) > self._max_tokens:
            self._end_shard()
        if self._open is None:
            name = f"{self._name}-{len(self._shards):05d}"
            self._open = _OpenShard(self._folder, name, self._manifest.id_type)
        self._open.add(ids_T, weight_T, document, scores)
        self._trained += len(ids_T) if weight_T is None else int(weight_T.sum())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._end_shard()
        if error is not None:
            return
        splits = {**self._others, self._name: self.split}
        write_manifest(self._folder, msgspec.structs.replace(self._manifest, splits=splits))

    def _end_shard(self) -> None:
        assert self._open is not None
        self._shards.append(self._open.close())
        self._open = None

    def _check_ids(self, ids_T: np.ndarray, document: str) -> None:
        if not len(ids_T):
            raise ConfigError(f"{document} has no token ids; leave it out.")
        low, high = int(ids_T.min()), int(ids_T.max())
        if low < 0 or high >= self._manifest.vocab_size:
            raise ConfigError(
                f"{document} has the id {low if low < 0 else high:,}; the vocabulary has ids from 0 to "
                f"{self._manifest.vocab_size - 1:,}. Give the tokenizer that made the ids."
            )


class _OpenShard:
    """The files of the shard that is being written; the weights' begins with the first that is not 1."""

    def __init__(self, folder: Path, name: str, id_type: IdType) -> None:
        self._folder, self._name = folder, name
        self._type = np.dtype(id_type).newbyteorder("<")
        self._ids = _HashedFile(folder / f"{name}.{IDS}")
        self._weights: _HashedFile | None = None
        self._starts, self._scores, self._name_ends = array("q", [0]), array("d"), array("q")
        self._names = bytearray()

    @property
    def num_tokens(self) -> int:
        return self._starts[-1]

    def add(
        self, ids_T: np.ndarray, weight_T: np.ndarray | None, document: str, scores: Sequence[float]
    ) -> None:
        if weight_T is not None and self._weights is None and (weight_T != 1).any():
            self._weights = _HashedFile(self._folder / f"{self._name}.{WEIGHTS}")
            self._weights.write_ones(self.num_tokens)
        if self._weights is not None:
            ones_T = np.ones(len(ids_T)) if weight_T is None else weight_T
            self._weights.write(ones_T.astype(np.uint8).tobytes())
        self._ids.write(ids_T.astype(self._type).tobytes())
        self._starts.append(self.num_tokens + len(ids_T))
        self._scores.extend(scores)
        self._names += document.encode("utf-8", "surrogatepass")
        self._name_ends.append(len(self._names))

    def close(self) -> Shard:
        index = _HashedFile(self._folder / f"{self._name}.{INDEX}")
        for column, kind in ((self._starts, "<i8"), (self._scores, "<f8"), (self._name_ends, "<i8")):
            index.write(np.asarray(column).astype(kind).tobytes())
        index.write(bytes(self._names))
        files = {IDS: self._ids.close(), INDEX: index.close()}
        if self._weights is not None:
            files[WEIGHTS] = self._weights.close()
        return Shard(
            name=self._name, num_segments=len(self._name_ends), num_tokens=self.num_tokens, files=files
        )


class _HashedFile:
    """A file whose sum is known when it is closed, without reading it again."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("wb")
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        self._stream.write(data)
        self._hash.update(data)
        self._size += len(data)

    def write_ones(self, count: int, chunk: int = 2**20) -> None:
        for start in range(0, count, chunk):
            self.write(b"\x01" * min(chunk, count - start))

    def close(self) -> File:
        self._stream.close()
        return File(sha256=self._hash.hexdigest(), size_bytes=self._size)


def _other_splits(folder: Path, split: str, manifest: ShardManifest) -> dict[str, Split]:
    """The splits that the folder holds, if this one can stand beside them."""
    if not (folder / MANIFEST).exists():
        return {}
    there = read_manifest(folder)
    if split in there.splits:
        raise UserError(
            f"{folder} holds the split '{split}' already; shards never change. Give a new folder."
        )
    for field in ("tokenizer", "vocab_size", "id_type", "scores"):
        if getattr(there, field) != getattr(manifest, field):
            raise ConfigError(
                f"{folder} holds splits whose {field} is {getattr(there, field)!r}; this one's is "
                f"{getattr(manifest, field)!r}. Give a new folder, or make all splits alike."
            )
    return there.splits


def _check_weight(weight_T: np.ndarray, num_ids: int, document: str) -> None:
    if len(weight_T) != num_ids:
        raise ConfigError(
            f"{document} has {num_ids:,} ids and {len(weight_T):,} weights; give one for each id."
        )
    if int(weight_T.min()) < 0 or int(weight_T.max()) > MAX_WEIGHT:
        raise ConfigError(f"{document} has weights outside 0 to {MAX_WEIGHT}; they are kept as uint8.")
