"""The descriptions of installed packages as documents: real documentation that needs no network."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from mainspring.artifact import fingerprint_of
from mainspring.data.document import Document
from mainspring.data.feeds.base import FeedSettings, Part, grouped
from mainspring.data.feeds.parsing import parsed
from mainspring.data.parse.base import MAX_BYTES
from mainspring.data.sources import Rejected, Source, packages


class Settings(FeedSettings):
    """What can be set for packages."""

    kind: Literal["packages"] = Field(default="packages", description="Descriptions of installed packages.")
    root: str = Field(default="mainspring", description="The package whose requirements are followed.")
    extras: tuple[str, ...] = Field(default=("demo",), description="Its extras that are followed, too.")
    max_bytes: int = Field(default=MAX_BYTES, ge=1, description="A larger description is rejected.")


class Feed:
    """The long descriptions of what a package needs, in the order of the names."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = settings.name or "packages"

    def prepare(self, folder: Path) -> None:
        """Nothing is remote."""

    def parts(self) -> list[Part]:
        sizes = (
            (entry.name, len(entry.data) if isinstance(entry, Source) else 0) for entry in self._entries()
        )
        names = grouped(sizes, self.settings.part_bytes)
        return [Part(path=self.settings.root, names=each) for each in names]

    def read(self, part: Part) -> Iterator[Document | Rejected]:
        entries = {entry.name: entry for entry in self._entries()}
        for name in part.names:
            place = f"{self.name}/{name}"
            entry = entries.get(name, Rejected(name=name, reason="the package is no longer installed"))
            if isinstance(entry, Rejected):
                yield Rejected(name=place, reason=entry.reason)
                continue
            yield parsed(replace(entry, name=place), feed=self.name, max_bytes=self.settings.max_bytes)

    def fingerprint(self) -> str:
        files = [
            (
                entry.name,
                hashlib.sha256(entry.data).hexdigest() if isinstance(entry, Source) else entry.reason,
            )
            for entry in self._entries()
        ]
        return fingerprint_of(["packages", self.name, self.settings.identity(), files])

    def _entries(self) -> list[Source | Rejected]:
        return packages(self.settings.root, self.settings.extras)
