"""What lies in a folder of token shards: the layout of the files and the manifest that names them.

    shards.json           tokenizer, vocabulary, type of an id; of every split its shards with their sha256
    train-00000.ids       token ids, one segment behind the other
    train-00000.weights   how much each id is trained, uint8; there is none where all are 1
    train-00000.index     starts int64 (n + 1) | scores float64 (n x k) | ends of names int64 (n) | names, UTF-8

Every number is little-endian. A segment never crosses shards. The manifest is written last: without it there
are no shards, however many files lie there.
"""

import os
from pathlib import Path
from typing import Literal

import msgspec

from mainspring.artifact import File
from mainspring.errors import ChecksumError, ConfigError, NotFoundError

MANIFEST = "shards.json"
IDS, WEIGHTS, INDEX = "ids", "weights", "index"
TYPES = {"uint16": 2**16, "uint32": 2**32}

IdType = Literal["uint16", "uint32"]


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One shard; `files` has an entry for each of ids, index and, where there are any, weights."""

    name: str
    num_segments: int
    num_tokens: int
    files: dict[str, File]

    def path(self, folder: Path, what: str) -> Path:
        return folder / f"{self.name}.{what}"


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """The shards of one split; `trained_tokens` is the sum of all weights."""

    num_segments: int
    num_tokens: int
    trained_tokens: int
    shards: list[Shard]


class ShardManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What decides the meaning of the ids, and the splits. `scores` names the columns of the index."""

    tokenizer: str
    vocab_size: int
    id_type: IdType
    scores: list[str] = []
    splits: dict[str, Split] = {}


def id_type_for(vocab_size: int, wanted: str = "auto") -> IdType:
    """The smallest type that holds every id of a vocabulary, or the wanted one if it does.

    Raises:
        ConfigError: a vocabulary that is larger than the type.

    """
    for name, limit in TYPES.items():
        if wanted in ("auto", name) and vocab_size <= limit:
            return name  # type: ignore[return-value] - a key of TYPES is an IdType
    largest = TYPES.get(wanted, max(TYPES.values()))
    raise ConfigError(
        f"The vocabulary has {vocab_size:,} ids, more than the {largest:,} that `id_type` {wanted} holds. "
        "Set `id_type` to auto, or take a smaller vocabulary."
    )


def read_manifest(folder: Path) -> ShardManifest:
    """Read shards.json.

    Raises:
        NotFoundError: there is none.
        ChecksumError: it is damaged.

    """
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=ShardManifest)
    except FileNotFoundError:
        raise NotFoundError(
            f"{folder} holds no {MANIFEST}, so it holds no token shards, or their writing was cut short. "
            "Make them with `mainspring data shard`."
        ) from None
    except msgspec.MsgspecError as error:
        raise ChecksumError(f"{path} is damaged: {error}. Make the shards again.") from error


def write_manifest(folder: Path, manifest: ShardManifest) -> None:
    """Put shards.json into its place as a whole."""
    temporary = folder / f".{MANIFEST}"
    with temporary.open("wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(folder / MANIFEST)
