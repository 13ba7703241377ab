"""The one place where the pipeline meets the kinds of sameness: which are asked for, and how they sign.

    part -> sign -> PART/exact.rows, near.rows, spans.rows

A part does not know the numbers of its documents in the whole, so spans are signed with the numbers within it;
finding (duplicates.py) puts in those of the whole.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mainspring.config import Config, build
from mainspring.data.dedup import exact, near, spans
from mainspring.data.dedup.base import Sameness
from mainspring.data.dedup.spans import Spans
from mainspring.data.recipe import DedupSettings, Switch
from mainspring.errors import ConfigError

WHOLE = ("exact", "near")
"""Kinds for whole documents, in the order in which they decide: what is both is called an exact duplicate."""
SPANS = "spans"
BATCH_CHARACTERS = 1 << 20

Kinds = Mapping[str, dict[str, Any]]
"""The kinds that are asked for, each with all of its settings."""


def resolve(settings: DedupSettings) -> Kinds:
    """Fill in what was left out.

    Raises:
        ConfigError: an unknown setting, or a value of a wrong type.

    """
    asked: dict[str, Switch] = {"exact": settings.exact, "near": settings.near, SPANS: settings.spans}
    kinds: dict[str, type[Config]] = {"exact": exact.Settings, "near": near.Settings, SPANS: spans.Settings}
    return {
        name: _build(name, kinds[name], {} if value is True else value).model_dump(mode="json")
        for name, value in asked.items()
        if value is not False
    }  # fmt: skip


def make_whole(kinds: Kinds) -> list[Sameness]:
    """The kinds for whole documents."""
    made: list[Sameness] = []
    if "exact" in kinds:
        made.append(exact.Exact(build(exact.Settings, kinds["exact"])))
    if "near" in kinds:
        made.append(near.Near(build(near.Settings, kinds["near"])))
    return made


def make_spans(kinds: Kinds) -> Spans | None:
    """The kind for passages, if it is asked for."""
    return Spans(build(spans.Settings, kinds[SPANS])) if SPANS in kinds else None


class Signer:
    """Signs the documents of a part in batches, into one file a kind. Close it at the end."""

    def __init__(self, folder: Path, whole: Sequence[Sameness], passages: Spans | None) -> None:
        self._whole = [(kind, (folder / rows_file(kind.name)).open("wb")) for kind in whole]
        self._spans = [(passages, (folder / rows_file(SPANS)).open("wb"))] if passages else []
        self._texts: list[str] = []
        self._characters = self._first = 0
        self.seconds: dict[str, float] = {}
        """What each kind took."""

    def add(self, text: str) -> None:
        if self._whole or self._spans:
            self._texts.append(text)
            self._characters += len(text)
            if self._characters >= BATCH_CHARACTERS:
                self._sign()

    def close(self) -> None:
        if self._texts:
            self._sign()
        for _, file in (*self._whole, *self._spans):
            file.close()

    def _sign(self) -> None:
        for kind, file in self._whole:
            with self._timed(kind.name):
                kind.sign(self._texts).astype("<u8").tofile(file)
        for passages, file in self._spans:
            with self._timed(SPANS):
                passages.sign(self._first, self._texts).astype("<u8").tofile(file)
        self._first += len(self._texts)
        self._texts, self._characters = [], 0

    @contextmanager
    def _timed(self, kind: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - began


def rows_file(kind: str) -> str:
    return f"{kind}.rows"


def _build(name: str, kind: type[Config], given: dict[str, Any]) -> Config:
    try:
        return build(kind, given)
    except ConfigError as error:
        raise ConfigError(f"In dedup.{name}: {error}") from None
