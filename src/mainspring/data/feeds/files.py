"""Files as documents: one a file, or many in a large file of plain text."""

import fnmatch
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Literal

from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.data.document import Document
from mainspring.data.feeds import text
from mainspring.data.feeds.base import FeedSettings, Part, grouped
from mainspring.data.feeds.parsing import parsed
from mainspring.data.feeds.tree import Tree, tree
from mainspring.data.parse import SUFFIXES
from mainspring.data.parse.base import MAX_BYTES
from mainspring.data.sources import Rejected, single
from mainspring.errors import DocumentError


class Settings(FeedSettings):
    """What can be set for files."""

    kind: Literal["files"] = Field(default="files", description="Files of documents.")
    path: str = Field(description="A folder, a file, or a pattern such as `books/*.txt`.")
    include: tuple[str, ...] = Field(
        default=("*",), description="Patterns of the files taken, below the folder; `*` also matches `/`."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Patterns of the files left out among those.")
    split: str = Field(
        default="file",
        min_length=1,
        description=(
            "What is a document: `file`; in plain-text files also `paragraph`, or what stands between lines "
            "such as `<|endoftext|>`. The text of such documents is kept to the character."
        ),
    )
    group: Literal["file", "document"] = Field(
        default="file", description="What a split into training and evaluation never tears apart."
    )
    is_main_text: bool = Field(
        default=True, description="Of web pages, take the main text without menus and advertisements."
    )
    max_bytes: int = Field(default=MAX_BYTES, ge=1, description="A larger document is rejected.")


class Feed:
    """The files of a folder, in the order of their names."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tree = _chosen(settings)
        self.name = settings.name or self.tree.title

    def prepare(self, folder: Path) -> None:
        """Nothing is remote."""

    def parts(self) -> list[Part]:
        found: list[Part] = []
        for is_split, files in groupby(self.tree.sizes(), key=lambda file: self._is_split(file[0])):
            sizes = [(name, size) for name, size, _ in files]
            if is_split:
                found += [part for name, size in sizes for part in self._cut(name, size)]
            else:
                found += [self._part(*names) for names in grouped(sizes, self.settings.part_bytes)]
        return found

    def read(self, part: Part) -> Iterator[Document | Rejected]:
        for name in part.names:
            if part.end:
                yield from self._documents(name, part)
            else:
                yield self._document(name)

    def fingerprint(self) -> str:
        return fingerprint_of(["files", self.name, self.settings.identity(), self.tree.sizes()])

    def _is_split(self, name: str) -> bool:
        return self.settings.split != "file" and SUFFIXES.get(Path(name).suffix.lower()) == "plain"

    def _part(self, *names: str, start: int = 0, end: int = 0) -> Part:
        return Part(path=str(self.tree.root), names=names, start=start, end=end)

    def _cut(self, name: str, size: int) -> list[Part]:
        """The parts of a plain-text file; one that cannot be read is one part, which says so."""
        try:
            with (self.tree.root / name).open("rb") as stream:
                ranges = text.cuts(stream, size, self.settings.part_bytes, self.settings.split)
        except OSError:
            ranges = []
        return [self._part(name, start=start, end=end) for start, end in ranges] or [self._part(name)]

    def _document(self, name: str) -> Document | Rejected:
        """A whole file as a document."""
        place = self.tree.place(self.name, name)
        found = single(self.tree.root / name, place, self.settings.max_bytes)
        if isinstance(found, Rejected):
            return found
        return parsed(
            found, feed=self.name, group=self._group(place), max_bytes=self.settings.max_bytes,
            is_main_text=self.settings.is_main_text,
        )  # fmt: skip

    def _documents(self, name: str, part: Part) -> Iterator[Document | Rejected]:
        """The documents within a stretch of a plain-text file."""
        place, max_bytes = self.tree.place(self.name, name), self.settings.max_bytes
        try:
            with (self.tree.root / name).open("rb") as stream:
                for each in text.documents(stream, part.start, part.end, self.settings.split, max_bytes):
                    yield self._stretch(each, place)
        except OSError as error:
            yield Rejected(name=place, reason=f"it cannot be read ({error.strerror})")

    def _stretch(self, stretch: text.Stretch, place: str) -> Document | Rejected:
        key = f"{place}#byte={stretch.start}"
        if stretch.data is None:
            limit = self.settings.max_bytes
            return Rejected(name=key, reason=f"it has {stretch.size:,} bytes; documents may have {limit:,}")
        try:
            found = text.decode(stretch.data)
        except DocumentError as error:
            return Rejected(name=key, reason=str(error))
        return Document(id=key, text=found, source=self.name, group=self._group(place))

    def _group(self, place: str) -> str:
        return place if self.settings.group == "file" else ""


def _chosen(settings: Settings) -> Tree:
    """The files that are included and not excluded.

    Raises:
        DocumentError: none are left.

    """
    found = tree(settings.path)

    def is_any(name: str, patterns: tuple[str, ...]) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    names = tuple(
        name for name in found.names if is_any(name, settings.include) and not is_any(name, settings.exclude)
    )
    if not names:
        raise DocumentError(
            f"None of the {len(found.names):,} files of {settings.path} is left by `include` and `exclude`; the first "
            f"is {found.names[0]}. Change the patterns."
        )
    return Tree(root=found.root, names=names, is_single=found.is_single)
