"""Records that end with lines, cut out of a stream of bytes: the same ones wherever the reading begins.

A Splitter says where in a chunk a line's end is a record's end; of JSON Lines that is everywhere, of CSV it is
outside of quotes. Only whether such an end is inside or outside crosses from one chunk to the next.
"""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Protocol, cast

import msgspec

from mainspring.data.feeds.base import Part
from mainspring.errors import MissingExtraError

BOM = b"\xef\xbb\xbf"
CHUNK_BYTES = 1 << 22
COMPRESSED = (".gz", ".zst")
Span = tuple[int, int]


class Splitter(Protocol):
    """Finds in chunk after chunk the stretches in which the end of a line ends a record."""

    def spans(self, chunk: bytes) -> list[Span]: ...


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Bytes of one record and the number of its first line; `data` is None where it is over the limit.

    What stands behind the last end of a record is the `is_rest`.
    """

    number: int
    data: bytes | None
    is_rest: bool = False


def whole(path: Path) -> Part:
    """All of a file as one part."""
    return Part(path=str(path), end=path.stat().st_size)


def cut(path: Path, splitter: Splitter, part_bytes: int) -> list[Part]:
    """Byte ranges of about `part_bytes` that begin and end where records do, with their lines' numbers.

    A compressed file is one part, because nobody can begin in its middle.
    """
    if path.suffix.lower() in COMPRESSED:
        return [whole(path)]
    size = path.stat().st_size
    found: list[Part] = []
    with open_at(path, 0) as stream:
        start = at = stream.tell()
        first = line = 1
        for chunk in _chunks(stream, size - at):
            counted = 0
            for low, high in splitter.spans(chunk):
                target = max(low, start + part_bytes - 1 - at)
                while target < high and (end := chunk.find(b"\n", target, high) + 1) > 0:
                    line += chunk.count(b"\n", counted, end)
                    counted = end
                    found.append(Part(path=str(path), start=start, end=at + end, first=first))
                    start, first = at + end, line
                    target = max(low, start + part_bytes - 1 - at)
            line += chunk.count(b"\n", counted)
            at += len(chunk)
    if start < at:
        found.append(Part(path=str(path), start=start, end=at, first=first))
    return found


def records(part: Part, splitter: Splitter, max_bytes: int) -> Iterator[Record]:
    """The records of a part, their lines' ends included; memory is bounded by `max_bytes` and a chunk.

    Raises:
        OSError, EOFError: the file cannot be read on.

    """
    path = Path(part.path)
    size = None if path.suffix.lower() in COMPRESSED else part.end
    with open_at(path, part.start) as stream:
        held, line, is_over = bytearray(), part.first, False
        lines_held = 0
        for chunk in _chunks(stream, None if size is None else size - stream.tell()):
            at = 0
            for end in _ends(chunk, splitter.spans(chunk)):
                is_over = is_over or len(held) + end - at > max_bytes
                yield Record(number=line, data=None if is_over else bytes(held) + chunk[at:end])
                line += lines_held + chunk.count(b"\n", at, end)
                at, lines_held, is_over = end, 0, False
                held.clear()
            held += chunk[at:]
            lines_held += chunk.count(b"\n", at)
            if len(held) > max_bytes:
                is_over = True
                held.clear()
        if held or is_over:
            yield Record(number=line, data=None if is_over else bytes(held), is_rest=True)


@contextmanager
def open_at(path: Path, start: int) -> Iterator[BufferedReader]:
    """The bytes of a file, decompressed where its name says so, from `start` or behind its byte order mark."""
    with _opened(path) as stream:
        if start:
            stream.seek(start)
        elif stream.peek(len(BOM))[: len(BOM)] == BOM:
            stream.read(len(BOM))
        yield stream


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        with gzip.open(path, "rb") as stream:
            yield cast("BufferedReader", stream)
    elif suffix == ".zst":
        with _zstd(path) as stream:
            yield stream
    else:
        with path.open("rb") as stream:
            yield stream


@contextmanager
def _zstd(path: Path) -> Iterator[BufferedReader]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data", f"Reading {path.name}") from error
    with pa.input_stream(str(path), compression="zstd") as stream:
        yield BufferedReader(stream)


def _chunks(stream: BufferedReader, num_bytes: int | None) -> Iterator[bytes]:
    """The next `num_bytes` bytes of a stream, or all that it has, up to where it breaks off."""
    if num_bytes is None:
        while chunk := stream.read1(CHUNK_BYTES):
            yield chunk
        return
    while num_bytes > 0 and (chunk := stream.read(min(CHUNK_BYTES, num_bytes))):
        num_bytes -= len(chunk)
        yield chunk


def _ends(chunk: bytes, spans: list[Span]) -> Iterator[int]:
    """Where records end in a chunk: behind each end of a line within the spans."""
    for low, high in spans:
        end = chunk.find(b"\n", low, high) + 1
        while end:
            yield end
            end = chunk.find(b"\n", end, high) + 1
