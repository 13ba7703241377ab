"""CSV and TSV: a line of column names, then rows, whose cells may hold ends of lines within quotes.

A quote opens a cell only where a cell begins; elsewhere it is a character like others, and within quotes two
of them are one: RFC 4180, and what Python's csv module makes of files that do not keep to it.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mainspring.data.feeds.base import Part
from mainspring.data.feeds.tables.base import Row
from mainspring.data.feeds.tables.lines import Record, Span, cut, records, whole

CLOSING = re.compile(rb'(?:[^"]++|"")*+"')
MAX_CELL = 2**31 - 1


class _OutsideQuotes:
    """Follows quotes from chunk to chunk; `delimiter` alone where the file has no quoting."""

    def __init__(self, delimiter: str, *, is_quoted: bool) -> None:
        self.opening = re.compile(rb'(?<=[\n%s])"' % re.escape(delimiter.encode())) if is_quoted else None
        self.fresh = b"\n" + delimiter.encode()
        self.state = (
            "fresh"  # a cell begins; or "plain", "quoted", "quote": one within quotes, perhaps the last
        )

    def spans(self, chunk: bytes) -> list[Span]:
        if self.opening is None:
            return [(0, len(chunk))]
        found: list[Span] = []
        at, is_inside = self._enter(chunk)
        while True:
            if is_inside:
                closing = self._closing(chunk, at)
                if closing is None:
                    return found
                at = closing
            opened = self.opening.search(chunk, at)
            if opened is None:
                found.append((at, len(chunk)))
                self.state = "fresh" if chunk[-1] in self.fresh else "plain"
                return found
            found.append((at, opened.start()))
            at, is_inside = opened.end(), True

    def _enter(self, chunk: bytes) -> tuple[int, bool]:
        """Where to go on at a chunk's start, and whether that is within quotes."""
        is_quote = chunk[:1] == b'"'
        if self.state == "quote":
            return (1, True) if is_quote else (0, False)
        if self.state == "fresh" and is_quote:
            return 1, True
        return 0, self.state == "quoted"

    def _closing(self, chunk: bytes, at: int) -> int | None:
        """The place behind the closing quote; None where the chunk ends before it is known."""
        found = CLOSING.match(chunk, at)
        if found is None or found.end() == len(chunk):
            self.state = "quoted" if found is None else "quote"
            return None
        return found.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delimited:
    """Rows of cells; `columns` are named where the file has no line of names."""

    delimiter: str
    max_bytes: int
    columns: tuple[str, ...] = ()
    is_quoted: bool = True

    def whole(self, path: Path) -> Part:
        return whole(path)

    def parts(self, path: Path, part_bytes: int) -> list[Part]:
        return cut(path, self._splitter(), part_bytes)

    def rows(self, part: Part) -> Iterator[Row]:
        is_start = part.first == 1
        found = records(part, self._splitter(), self.max_bytes)
        try:
            columns = self.columns or self._names(next(found, None) if is_start else self._head(part))
        except ValueError as error:
            if is_start:  # said once for a file, however it is cut
                yield Row(number=1, fault=f"in the line of column names, {error}")
            return
        for record in found:
            if record.data is None or record.data.strip(b"\r\n"):
                yield self._row(record, columns)

    def _splitter(self) -> _OutsideQuotes:
        return _OutsideQuotes(self.delimiter, is_quoted=self.is_quoted)

    def _row(self, record: Record, columns: tuple[str, ...]) -> Row:
        try:
            cells = self._cells(record)
        except ValueError as error:
            return Row(number=record.number, fault=str(error))
        if len(cells) != len(columns):
            fault = f"the row has {len(cells):,} cells; there are {len(columns):,} columns"
            return Row(number=record.number, fault=fault)
        return Row(number=record.number, values=dict(zip(columns, cells, strict=True)))

    def _cells(self, record: Record) -> list[str]:
        """The cells of a record; a ValueError says what is wrong with it."""
        if record.data is None:
            raise ValueError(
                f"the row has more than {self.max_bytes:,} bytes; a quote that opens here may never be closed"
            )
        if record.is_rest and self._is_open(record.data):
            raise ValueError("a quote opens in this row and is never closed")
        csv.field_size_limit(MAX_CELL)
        quoting = csv.QUOTE_MINIMAL if self.is_quoted else csv.QUOTE_NONE
        try:
            text = record.data.decode()
            rows = list(csv.reader([text], delimiter=self.delimiter, quoting=quoting))
        except UnicodeDecodeError as error:
            raise ValueError(f"the row is not UTF-8 text (its byte {error.start:,})") from error
        except csv.Error as error:
            raise ValueError(f"the row is not CSV: {error}") from error
        return rows[0] if rows else []

    def _is_open(self, data: bytes) -> bool:
        """Whether a row ends within quotes, as only the last one of a file can."""
        splitter = self._splitter()
        splitter.spans(data)
        return splitter.state == "quoted"

    def _head(self, part: Part) -> Record | None:
        """The first record of the file of a part that begins later."""
        return next(records(Part(path=part.path, end=part.start), self._splitter(), self.max_bytes), None)

    def _names(self, head: Record | None) -> tuple[str, ...]:
        names = tuple(self._cells(head)) if head else ()
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"'{twice[0]}' stands more than once; name the columns with `columns`")
        return names
