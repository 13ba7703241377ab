"""What a source is, and the order in which one is gone through."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from mainspring.artifact import fingerprint_of
from mainspring.config import Config
from mainspring.models.config import ModelConfig
from mainspring.registry import Registry
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.batch import Item


class Source(Protocol):
    """Items that can be asked for by index, always the same ones."""

    fingerprint: str
    num_items: int

    def item(self, index: int) -> Item:
        """The item at an index below `num_items`."""
        ...


def order(num_items: int, seed: int, epoch: int) -> list[int]:
    """Indices in the order of one pass; every pass has its own, and both depend on nothing else."""
    indices = list(range(num_items))
    random.Random(f"{seed}/{epoch}").shuffle(indices)  # noqa: S311 - an order, not a secret
    return indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a source is opened with: where data lie, and the model that they are for."""

    registry: Registry
    tokenizer: Tokenizer
    model: ModelConfig
    max_tokens: int


class SourceConfig(Config):
    """A kind of source and its settings."""

    kind: Any

    def open(self, opening: Opening) -> Any:
        """A Source, or what becomes a Feed; data that cannot be learnt from are refused here."""
        raise NotImplementedError

    def parents(self, registry: Registry) -> dict[str, str]:
        """The artifacts that are read, by role, for the lineage of what learns from them."""
        raise NotImplementedError

    def pinned(self, registry: Registry) -> Self:
        """The same with the versions that its names stand for now."""
        raise NotImplementedError


class DatasetConfig(SourceConfig):
    """A kind of source that reads one dataset or one file."""

    dataset: str

    def parents(self, registry: Registry) -> dict[str, str]:
        """The dataset; a file is none."""
        return {} if self._is_file else {"dataset": registry.get(self.dataset).reference}

    def pinned(self, registry: Registry) -> Self:
        """With the dataset's version."""
        return (
            self
            if self._is_file
            else self.model_copy(update={"dataset": registry.get(self.dataset).reference})
        )

    @property
    def _is_file(self) -> bool:
        return Path(self.dataset).suffix == ".jsonl"


class Subset:
    """Some items of a source, in the order given."""

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self._source, self._indices = source, list(indices)
        self.num_items = len(self._indices)
        self.fingerprint = fingerprint_of([source.fingerprint, self._indices])

    def item(self, index: int) -> Item:
        return self._source.item(self._indices[index])


def hold_out(source: Source, fraction: float, seed: int) -> tuple[Source, Source]:
    """What to learn from and what to look at only: at least one item of each."""
    shuffled = order(source.num_items, seed, -1)
    num_held = min(max(1, round(fraction * source.num_items)), source.num_items - 1)
    return Subset(source, sorted(shuffled[num_held:])), Subset(source, sorted(shuffled[:num_held]))
