"""Documents within one plain-text file: what lies between separator lines, or every paragraph.

Whether a line separates is seen from it and the line before it, so that a worker finds the documents of its
stretch without the rest of the file, and a file of any size is cut without reading it:

    file -> cuts, each where a document begins -> documents of a stretch, kept to the character
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

from mainspring.errors import DocumentError

BOM = b"\xef\xbb\xbf"
LINE_BYTES = 1 << 20  # a longer line is read in pieces; a line that separates is far shorter


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A document's bytes and the place of the first one; `data` is None where they are over the limit."""

    start: int
    size: int
    data: bytes | None


@dataclass(slots=True)
class Separation:
    """Says of line after line whether a document ends before or after it; `by` is a line or "paragraph"."""

    by: str
    is_at_start: bool = True
    was_blank: bool = False

    def see(self, line: bytes) -> Literal["", "before", "instead"]:
        """Whether this piece of a line begins a document ("before") or stands between two ("instead")."""
        is_whole_start, self.is_at_start = self.is_at_start, line.endswith(b"\n")
        if self.by != "paragraph":
            return "instead" if is_whole_start and line.strip() == self.by.encode() else ""
        was_blank = self.was_blank
        if is_whole_start:
            self.was_blank = not line.strip() and self.is_at_start
        return "before" if is_whole_start and was_blank and not self.was_blank else ""


def cuts(stream: BinaryIO, size: int, part_bytes: int, by: str) -> list[tuple[int, int]]:
    """Byte ranges of about `part_bytes` that begin and end where documents do."""
    start = len(BOM) if stream.read(len(BOM)) == BOM else 0
    found = []
    while start < size:
        end = _next_start(stream, start + part_bytes, size, by)
        found.append((start, end))
        start = end
    return found


def documents(stream: BinaryIO, start: int, end: int, by: str, max_bytes: int) -> Iterator[Stretch]:
    """The documents from byte `start` to `end`, which are places where documents begin; blank ones left out."""
    separation = Separation(by)
    stream.seek(start)
    at = first = start
    held: list[bytes] = []
    held_bytes, is_blank = 0, True
    for line in _lines(stream, end - start):
        place = separation.see(line)
        if place:
            if not is_blank:
                yield _stretch(first, held, held_bytes, max_bytes)
            held, held_bytes, is_blank = [], 0, True
            first = at + len(line) if place == "instead" else at
        at += len(line)
        if place != "instead":
            held_bytes += len(line)
            is_blank = is_blank and not line.strip()
            if held_bytes <= max_bytes:
                held.append(line)
    if not is_blank:
        yield _stretch(first, held, held_bytes, max_bytes)


def decode(data: bytes) -> str:
    """Text kept to the character: only the ends of lines are made uniform and blank lines around it go.

    Raises:
        DocumentError: bytes that are not UTF-8 text.

    """
    if b"\0" in data:
        raise DocumentError("it is binary (it holds NUL bytes); text in UTF-8 is expected")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DocumentError(f"it is not UTF-8 text (its byte {error.start:,}); convert the file") from error
    return text.replace("\r\n", "\n").strip("\r\n")


def _stretch(start: int, held: list[bytes], size: int, max_bytes: int) -> Stretch:
    return Stretch(start=start, size=size, data=b"".join(held) if size <= max_bytes else None)


def _next_start(stream: BinaryIO, target: int, size: int, by: str) -> int:
    """The first place at or behind `target`, or soon after it, where a document is known to begin."""
    if target >= size:
        return size
    stream.seek(target - 1)
    at = target - 1
    separation = Separation(by, is_at_start=False)
    for line in _lines(stream, size - at):
        place = separation.see(line)
        if place == "before":
            return at
        at += len(line)
        if place == "instead":
            return at
    return size


def _lines(stream: BinaryIO, num_bytes: int) -> Iterator[bytes]:
    """Lines, long ones in pieces, of the next `num_bytes` bytes."""
    while num_bytes > 0:
        line = stream.readline(min(LINE_BYTES, num_bytes))
        if not line:
            return
        num_bytes -= len(line)
        yield line
