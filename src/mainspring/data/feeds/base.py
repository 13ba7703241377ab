"""What a feed is: documents in parts that workers read one by one, the same parts in every run.

settings -> prepare (what is remote is brought once, into the run's folder) -> parts -> read, in parallel

A kind of feed is a file here that holds `Settings`, what a recipe may set, and `Feed`, which is made of them.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import msgspec
from pydantic import Field

from mainspring.config import Config, build
from mainspring.data.document import Document
from mainspring.data.sources import Rejected
from mainspring.errors import ConfigError

KINDS = ("files", "rows", "sql", "web", "packages")


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stretch of a feed that one worker reads.

    Bytes, row groups or entries `start` to `end` of `path`, or the files `names` in the folder `path`.
    `first` is the number of the first line or row, which a worker in the middle of a file cannot know.
    """

    path: str
    start: int = 0
    end: int = 0
    first: int = 1
    names: tuple[str, ...] = ()


class Feed(Protocol):
    """One source of a recipe. Pickled into the workers, so it holds settings and no open file.

    `prepare` comes first: what a remote source holds is not known before.
    """

    name: str

    def prepare(self, folder: Path) -> None:
        """Bring what is remote into `folder`; what is there already is not brought again.

        Raises:
            ConfigError, DocumentError: settings that do not fit what is there; nothing there to read.

        """
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


class FeedSettings(Config):
    """What can be set for every kind of feed."""

    name: str = Field(
        default="", description="What the documents' ids begin with; by default the last part of the path."
    )
    part_bytes: int = Field(
        default=8_000_000, ge=1, description="About how many bytes a worker reads at a time."
    )

    def identity(self) -> dict[str, Any]:
        """What decides which documents there are: not where the source lies, nor how it is cut into parts."""
        return self.model_dump(mode="json", exclude={"name", "part_bytes", "path"})


def make(settings: Mapping[str, Any]) -> Feed:
    """A feed by its `kind`, with the settings of a recipe.

    Raises:
        ConfigError: an unknown kind or setting (the nearest is named), or a value of a wrong type.

    """
    kind = settings.get("kind")
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        given = "A source has no `kind`" if kind is None else f"There is no kind of source '{kind}'"
        hint = f"Did you mean '{near[0]}'?" if near else "Set `kind` to one of them."
        raise ConfigError(f"{given}; there are {', '.join(KINDS)}. {hint}")
    module: Any = import_module(f"mainspring.data.feeds.{kind}")
    try:
        return module.Feed(build(module.Settings, dict(settings)))
    except ConfigError as error:
        raise ConfigError(without_passwords(str(error))) from None


def without_passwords(text: str) -> str:
    """Text whose URLs name no user and no password. Rather too much is taken out than too little."""
    return re.sub(r"(?<=://).*@", "***@", text)


def grouped(sizes: Iterable[tuple[str, int]], part_bytes: int) -> Iterator[tuple[str, ...]]:
    """Names in their order, taken together until they have about `part_bytes`."""
    waiting: list[str] = []
    waiting_bytes = 0
    for name, size in sizes:
        waiting.append(name)
        waiting_bytes += size
        if waiting_bytes >= part_bytes:
            yield tuple(waiting)
            waiting, waiting_bytes = [], 0
    if waiting:
        yield tuple(waiting)
