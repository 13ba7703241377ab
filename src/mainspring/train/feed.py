"""What every step of a run learns from, in order, from any place on.

A cursor is a few numbers: nothing random is kept between steps, so a run that was killed goes on with exactly the
items that it would have seen, on as many ranks as there are then.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from mainspring.errors import ConfigError
from mainspring.train.batch import Item
from mainspring.train.config import TrainConfig
from mainspring.train.ranks import Ranks
from mainspring.train.sources.base import Source, order


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """This rank's items of a step, and the cursor behind it, as JSON values."""

    items: list[Item]
    cursor: Mapping[str, Any]


@runtime_checkable
class Feed(Protocol):
    """The steps of a run."""

    fingerprint: str
    num_steps: int

    def steps(self, cursor: Mapping[str, Any]) -> Iterator[Step]:
        """All steps behind a cursor; an empty one stands before the first."""
        ...


class ItemFeed:
    """A source's items in the order of its passes, `items_per_step` at a time.

    The last step of a pass takes what is left. Where `max_trained_tokens` is set, the run ends before the item
    with which the weights used would exceed it.
    """

    def __init__(self, source: Source, config: TrainConfig, ranks: Ranks) -> None:
        self._source, self._config, self._ranks = source, config, ranks
        self.fingerprint = source.fingerprint
        self._steps_per_pass = -(-source.num_items // config.items_per_step)
        self.num_steps = config.steps or config.epochs * self._steps_per_pass
        self._num_last: int | None = None
        if config.max_trained_tokens:
            self._limit(config.max_trained_tokens)

    def steps(self, cursor: Mapping[str, Any]) -> Iterator[Step]:
        """Each step's items of this rank."""
        at = int(cursor.get("step", 0))
        for number, indices in enumerate(self._indices(at), at):
            taken = indices[: self._num_last] if number + 1 == self.num_steps else indices
            items = [self._source.item(index) for index in self._ranks.share(taken)]
            yield Step(items=items, cursor={"step": number + 1})

    def _indices(self, first: int) -> Iterator[list[int]]:
        size, pass_number, indices = self._config.items_per_step, -1, []
        for number in range(first, self.num_steps):
            epoch, at = divmod(number, self._steps_per_pass)
            if epoch != pass_number:
                pass_number, indices = epoch, order(self._source.num_items, self._config.seed, epoch)
            yield indices[at * size : (at + 1) * size]

    def _limit(self, budget: float) -> None:
        """Find the last step, and how many of its items still fit."""
        limit = budget
        for number, indices in enumerate(self._indices(0)):
            for place, index in enumerate(indices):
                budget -= sum(segment.trained_tokens for segment in self._source.item(index))
                if budget < 0:
                    self.num_steps, self._num_last = number + (place > 0), place or None
                    break
            if budget < 0:
                break
        if not self.num_steps:
            raise ConfigError(
                f"`max_trained_tokens` is {limit:,}, but the first of {self._source.num_items} items alone trains "
                "more. Raise the limit, or give shorter answers."
            )
