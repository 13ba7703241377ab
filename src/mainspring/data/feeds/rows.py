"""Rows as documents: JSON Lines, CSV, TSV and Parquet."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.data.document import Document
from mainspring.data.feeds.base import Part
from mainspring.data.feeds.tables.base import Row, Table
from mainspring.data.feeds.tables.check import agreed_shape, check_fields, sample
from mainspring.data.feeds.tables.delimited import Delimited
from mainspring.data.feeds.tables.fields import FieldSettings, document
from mainspring.data.feeds.tables.jsonl import JsonLines
from mainspring.data.feeds.tables.parquet import Parquet
from mainspring.data.feeds.tree import tree
from mainspring.data.sources import Rejected
from mainspring.errors import DocumentError

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
COMPRESSED = (".gz", ".zst")


class Settings(FieldSettings):
    """What can be set for rows in files."""

    kind: Literal["rows"] = Field(
        default="rows", description="Rows of JSON Lines, CSV, TSV or Parquet files."
    )
    path: str = Field(description="A file, a folder, or a pattern such as `logs/*.jsonl.gz`.")
    columns: tuple[str, ...] = Field(
        default=(), description="The columns of CSV and TSV files whose first line does not name them."
    )
    is_quoted: bool = Field(
        default=True, description="Whether CSV and TSV cells may be quoted; else a quote is a character."
    )


class Feed:
    """The rows of a file, or of all files of a folder in the order of their names."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tree = tree(settings.path)
        self.name = settings.name or self.tree.title
        self.shape = settings.shape or ("auto" if settings.is_conversation else "")

    def prepare(self, folder: Path) -> None:
        """Nothing is remote; but settings that fit no row are found here and not after an hour."""
        self.check()

    def check(self, called: str = "") -> None:
        """Hold the settings against the first rows, and recognise the shape of conversations.

        Errors name the rows as what they are `called`, the path by default.

        Raises:
            DocumentError: no row can be read.
            ConfigError: a field that none of them has, or a shape that is not clear.

        """
        called = called or self.settings.path
        tables = {self.tree.root / name: self._table(name) for name in self.tree.names}
        rows = sample({file: table for file, table in tables.items() if table}, called, SUFFIXES)
        check_fields(rows, self.settings, called)
        if self.shape == "auto":
            self.shape = agreed_shape(rows, self.settings.messages, called)

    def parts(self) -> list[Part]:
        found: list[Part] = []
        for name in self.tree.names:
            file, table = self.tree.root / name, self._table(name)
            try:
                parts = table.parts(file, self.settings.part_bytes) if table else []
            except (OSError, ValueError):
                parts = []
            found += parts or [Part(path=str(file))]  # reading it tells what is wrong with it
        return found

    def read(self, part: Part) -> Iterator[Document | Rejected]:
        if self.shape == "auto":
            self.check()
        name = Path(part.path).relative_to(self.tree.root).as_posix()
        place = self.tree.place(self.name, name)
        table = self._table(name)
        if table is None:
            reason = f"rows are not read from files with the suffix '{Path(name).suffix}'; {' '.join(SUFFIXES)} are"
            yield Rejected(name=place, reason=reason)
            return
        try:
            for row in table.rows(part):
                yield self._document(row, f"{place}#{row.number}")
        except (OSError, EOFError, ValueError, zlib.error) as error:
            yield Rejected(name=place, reason=f"it cannot be read to its end: {error}")

    def fingerprint(self) -> str:
        return fingerprint_of(["rows", self.name, self.settings.identity(), self.tree.sizes()])

    def _document(self, row: Row, place: str) -> Document | Rejected:
        if row.fault:
            return Rejected(name=place, reason=row.fault)
        try:
            return document(row.values, self.settings, self.shape, source=self.name, place=place)
        except DocumentError as error:
            return Rejected(name=place, reason=str(error))

    def _table(self, name: str) -> Table | None:
        """What reads a file; a compressed one has two suffixes."""
        settings = self.settings
        file = Path(name.lower())
        suffix = Path(file.stem).suffix if file.suffix in COMPRESSED else file.suffix
        if suffix in (".jsonl", ".ndjson"):
            return JsonLines(max_bytes=settings.max_bytes)
        if suffix in (".csv", ".tsv"):
            return Delimited(
                delimiter="," if suffix == ".csv" else "\t", max_bytes=settings.max_bytes,
                columns=settings.columns, is_quoted=settings.is_quoted,
            )  # fmt: skip
        return Parquet(wanted=tuple(settings.wanted(self.shape))) if file.suffix == ".parquet" else None
