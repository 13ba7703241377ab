"""The record that goes through the data pipeline, and how many of them lie in a file."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from mainspring.errors import DocumentError


class Document(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Text on its way to be learnt from.

    `id` is stable: the source's name and the place in it (`reviews.jsonl#17`), the same in every build.
    `group` is what must not be torn apart by a split (all pages of one book); "" means the document alone.
    `time` is when the text was written, ISO 8601, "" where that is not known. `meta` is what the source and
    the rules tell of it: `language`, `url`, `license`, `messages` (a conversation as role/content pairs).
    """

    id: str
    text: str
    source: str = ""
    group: str = ""
    time: str = ""
    meta: dict[str, Any] = {}

    @property
    def num_bytes(self) -> int:
        return len(self.text.encode("utf-8", "surrogatepass"))


def stable_hash(text: str) -> int:
    """64 bits that are the same in every process and on every machine."""
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )


def write_documents(path: Path, documents: Iterable[Document]) -> int:
    """Write one JSON object a line; returns how many."""
    encoder, count = msgspec.json.Encoder(), 0
    with path.open("wb") as stream:
        for document in documents:
            stream.write(encoder.encode(document) + b"\n")
            count += 1
    return count


def read_documents(path: Path) -> Iterator[Document]:
    """Read what write_documents wrote, one at a time.

    Raises:
        DocumentError: a line that is no document; its number is named.

    """
    decoder = msgspec.json.Decoder(Document)
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield decoder.decode(line)
            except msgspec.MsgspecError as error:
                raise DocumentError(
                    f"{path}, line {number}: not a document ({error}). Build it again."
                ) from error
