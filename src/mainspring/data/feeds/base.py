"""What a feed is: documents in parts that workers read one by one, the same parts in every run.

settings -> prepare (what is remote is brought once, into the run's folder) -> parts -> read, in parallel
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from mainspring.data.document import Document
from mainspring.data.sources import Rejected


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a feed that one worker reads: bytes, rows or files `start` to `end` of `path`."""

    path: str
    start: int = 0
    end: int = 0


class Feed(Protocol):
    """One source of a recipe. Pickled into the workers, so it holds settings and no open file."""

    name: str

    def prepare(self, folder: Path) -> None:
        """Bring what is remote into `folder`; what is there already is not brought again."""
        ...

    def parts(self) -> list[Part]:
        """All parts in the order of the documents, of about equal work; nothing is parsed for it."""
        ...

    def read(self, part: Part) -> Iterator[Document | Rejected]:
        """The documents of a part, in order; what cannot be read is rejected with its reason, not fatal."""
        ...

    def fingerprint(self) -> str:
        """A hash over what decides which documents there are: settings, names, sizes, times of files."""
        ...
