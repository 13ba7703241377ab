"""Rows of packed documents from one or several sets of shards: what a model is pre-trained on."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import msgspec
import pydantic
from pydantic import Field

from mainspring.data.curriculum import OrderConfig
from mainspring.data.loader import Loader, Row
from mainspring.data.mix import MixConfig
from mainspring.data.shards import Shards
from mainspring.data.window import Cursor, LoaderConfig
from mainspring.errors import ConfigError
from mainspring.registry import Registry
from mainspring.train.batch import Item, Segment
from mainspring.train.config import TrainConfig
from mainspring.train.feed import Step
from mainspring.train.ranks import Ranks
from mainspring.train.sources.base import Opening, SourceConfig
from mainspring.train.sources.shards import checked_shards


class Rows(SourceConfig):
    """Documents packed into rows, in an order and a mixture that may change over the run."""

    kind: Literal["rows"] = "rows"
    dataset: str = Field(description="the dataset of token shards, or several with commas between")
    split: str = Field(default="train", description="which split of them")
    length: int = Field(default=0, ge=0, description="ids of a row; 0: the model's context")
    order: OrderConfig = Field(default=OrderConfig(), description="of the documents of each dataset")
    mix: MixConfig = Field(
        default=MixConfig(), description="of several datasets; `passes` is what `train` says of them"
    )

    @pydantic.model_validator(mode="after")
    def _leaves_passes_to_the_run(self) -> Self:
        if self.mix.passes != MixConfig().passes:
            raise ValueError(
                f"`mix.passes` is {self.mix.passes}, but how often a run goes through its data is said by "
                "`train.epochs` or `train.steps`; set one of these, and leave it out"
            )
        return self

    def open(self, opening: Opening) -> "RowsOfShards":
        """Shards of every dataset, of the model's tokenizer."""
        names = self._names()
        shards = {name: checked_shards(opening, name, self.split) for name in names}
        length = self.length or opening.max_tokens
        if length > opening.max_tokens:
            raise ConfigError(
                f"`data.length` is {length}; at most {opening.max_tokens} ids fit. Set a shorter row."
            )
        return RowsOfShards(shards, length, self.order, self.mix)

    def parents(self, registry: Registry) -> dict[str, str]:
        """The datasets."""
        names = self._names()
        roles = ["dataset", *(f"dataset {number}" for number in range(2, len(names) + 1))]
        return {role: registry.get(name).reference for role, name in zip(roles, names, strict=True)}

    def pinned(self, registry: Registry) -> Self:
        """With the datasets' versions."""
        names = [registry.get(name).reference for name in self._names()]
        return self.model_copy(update={"dataset": ", ".join(names)})

    def _names(self) -> list[str]:
        return [name.strip() for name in self.dataset.split(",")]


class RowsOfShards:
    """Shards that become a feed when a run says how many rows its steps have."""

    def __init__(self, shards: Mapping[str, Shards], length: int, order: OrderConfig, mix: MixConfig) -> None:
        self._shards, self._length, self._order, self._mix = shards, length, order, mix

    def feed(self, config: TrainConfig, ranks: Ranks) -> "RowFeed":
        """Rows in the order of the run's seed."""
        settings = LoaderConfig(
            tokens_per_row=self._length, rows_per_step=config.items_per_step, seed=config.seed, order=self._order,
            mix=self._mix.model_copy(update={"passes": 0 if config.steps else config.epochs}),
        )  # fmt: skip
        loader = Loader(self._shards, settings, rank=ranks.rank, ranks=ranks.size)
        if self._mix.total and config.steps > (there := loader.num_steps()):
            raise ConfigError(
                f"`train.steps` is {config.steps:,}, but the {self._mix.total:,} {self._mix.unit} of `data.mix.total` "
                f"are {there:,} steps. Raise `data.mix.total`, or lower `train.steps`."
            )
        return RowFeed(loader, config.steps)


class RowFeed:
    """The loader's rows as items; `num_steps` 0 goes to the end of its stream."""

    def __init__(self, loader: Loader, num_steps: int) -> None:
        self._loader = loader
        self.fingerprint = loader.fingerprint
        self.num_steps = num_steps or loader.num_steps()

    def steps(self, cursor: Mapping[str, Any]) -> Iterator[Step]:
        """All steps behind a cursor of the loader."""
        begin = msgspec.convert(cursor, Cursor) if cursor else None
        for step in self._loader.steps(begin):
            items = [_item(row) for row in step.rows]
            yield Step(items=items, cursor=msgspec.to_builtins(step.cursor))
            if step.number >= self.num_steps:
                return


def _item(row: Row) -> Item:
    segments = []
    for place in row.segments:
        here = slice(place.start, place.start + place.length)
        name = f"{place.document} from id {place.offset:,}" if place.offset else place.document
        segment = Segment(ids=row.ids[here].tolist(), weight=row.weight[here].tolist(), name=name)
        segments.append(segment)
    return tuple(segments)
