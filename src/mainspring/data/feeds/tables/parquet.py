"""Parquet, through pyarrow: parts are row groups, and only the columns that are asked for are read."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mainspring.data.feeds.base import Part
from mainspring.data.feeds.tables.base import Row
from mainspring.errors import MissingExtraError

BATCH_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Parquet:
    """A file of columns; `wanted` are those that are read, or all where one of these is not there."""

    wanted: tuple[str, ...]

    def whole(self, path: Path) -> Part:
        with _opened(path) as file:
            return Part(path=str(path), end=file.metadata.num_row_groups)

    def parts(self, path: Path, part_bytes: int) -> list[Part]:
        with _opened(path) as file:
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        found: list[Part] = []
        start, first, rows, size = 0, 1, 0, 0
        for i, group in enumerate(groups):
            rows, size = rows + group.num_rows, size + group.total_byte_size
            if size >= part_bytes or i + 1 == len(groups):
                found.append(Part(path=str(path), start=start, end=i + 1, first=first))
                start, first, rows, size = i + 1, first + rows, 0, 0
        return found

    def rows(self, part: Part) -> Iterator[Row]:
        with _opened(Path(part.path)) as file:
            names = file.schema_arrow.names
            is_plain = all(name in names and "." not in name for name in self.wanted)
            batches = file.iter_batches(
                BATCH_ROWS, row_groups=range(part.start, part.end), use_threads=False,
                columns=list(self.wanted) if is_plain else None,
            )  # fmt: skip
            number = part.first
            for batch in batches:
                for values in batch.to_pylist():
                    yield Row(number=number, values=values)
                    number += 1


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file; what pyarrow says of a broken one is a ValueError."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data", f"Reading {path.name}") from error
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
