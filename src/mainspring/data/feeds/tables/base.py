"""What a file of rows gives: parts that begin and end with rows, and the rows of a part with their numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from mainspring.data.feeds.base import Part


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row's values by their fields, or the `fault` for which it has none; `number` is that of its line."""

    number: int
    values: dict[str, Any] = {}
    fault: str = ""


class Table(Protocol):
    """A format of files of rows."""

    def whole(self, path: Path) -> Part:
        """All rows of a file as one part, without looking through it."""
        ...

    def parts(self, path: Path, part_bytes: int) -> list[Part]:
        """Parts of about `part_bytes`, aligned to rows.

        Raises:
            OSError, ValueError: the file cannot be read.

        """
        ...

    def rows(self, part: Part) -> Iterator[Row]:
        """The rows of a part; one that cannot be read has a fault.

        Raises:
            OSError, EOFError, ValueError, zlib.error: the file cannot be read on.

        """
        ...
