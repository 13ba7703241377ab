"""In which order the segments of a split are drawn: shuffled, as written, or from easy to hard.

An order answers one question: which segment is the n-th to be drawn, over as many passes as it takes. It is
computed from n alone, so a run that goes on from n needs nothing else.
"""

from typing import Protocol

import numpy as np
from pydantic import Field

from mainspring.config import Config
from mainspring.data.permute import permute
from mainspring.data.shards import Shards
from mainspring.errors import ConfigError

SHUFFLE, WRITTEN = "shuffle", "written"


class OrderConfig(Config):
    """The order of every pass over a split."""

    by: str = Field(
        default=SHUFFLE,
        description="shuffle; written, as the documents came; length, or a score that the shards keep",
    )
    stages: int = Field(
        default=10,
        ge=0,
        description="equal parts by score, drawn in turn and shuffled within; 0 sorts strictly",
    )
    descending: bool = Field(default=False, description="highest scores first")


class Order(Protocol):
    """Which segments are drawn when."""

    def at(self, numbers: np.ndarray) -> np.ndarray:
        """Indices of the segments that are the n-th to be drawn, for ascending n, int64."""
        ...


class Shuffled:
    """Every pass in a pseudo-random order of its own."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed

    def at(self, numbers: np.ndarray) -> np.ndarray:
        epochs, places = np.divmod(numbers, self._size)
        parts = [
            permute(places[epochs == epoch], self._size, (self._seed, int(epoch)))
            for epoch in np.unique(epochs)
        ]
        return np.concatenate(parts)


class Written:
    """Every pass as the documents came."""

    def __init__(self, size: int) -> None:
        self._size = size

    def at(self, numbers: np.ndarray) -> np.ndarray:
        return np.asarray(numbers) % self._size


class Staged:
    """Every pass by score, in stages of equal size; within a stage the order is pseudo-random.

    Paper: Bengio et al., "Curriculum Learning", ICML 2009. Equal scores stay in the order of the documents.
    Keeps eight bytes a segment.
    """

    def __init__(self, scores: np.ndarray, stages: int, seed: int, *, descending: bool = False) -> None:
        if np.isnan(scores).any():
            raise ConfigError(
                f"{int(np.isnan(scores).sum()):,} of {len(scores):,} segments have no score to order by. "
                "Give every document one, or order by length."
            )
        self._sorted = np.argsort(-scores if descending else scores, kind="stable")
        self._seed, self._stages = seed, stages
        num_stages = min(stages, len(scores)) or 1
        self._borders = np.arange(num_stages + 1) * len(scores) // num_stages

    def at(self, numbers: np.ndarray) -> np.ndarray:
        epochs, places = np.divmod(numbers, len(self._sorted))
        if not self._stages:
            return self._sorted[places]
        stages = np.searchsorted(self._borders, places, side="right") - 1
        found = np.empty(len(places), dtype=np.int64)
        for epoch, stage in np.unique(np.stack([epochs, stages]), axis=1).T.tolist():
            here = (epochs == epoch) & (stages == stage)
            first, size = int(self._borders[stage]), int(self._borders[stage + 1] - self._borders[stage])
            found[here] = first + permute(places[here] - first, size, (self._seed, epoch, stage))
        return self._sorted[found]


def make_order(shards: Shards, config: OrderConfig, seed: int, scores: np.ndarray | None = None) -> Order:
    """The order that a configuration asks for.

    Args:
        shards: what is ordered.
        config: how.
        seed: of what is shuffled.
        scores: one number a segment, in place of a score that the shards keep (a model's losses).

    """
    if scores is not None:
        if len(scores) != shards.num_segments:
            raise ConfigError(
                f"{len(scores):,} scores were given for {shards.num_segments:,} segments; give one for each."
            )
    elif config.by == SHUFFLE:
        return Shuffled(shards.num_segments, seed)
    elif config.by == WRITTEN:
        return Written(shards.num_segments)
    else:
        scores = shards.scores(config.by)
    return Staged(scores, config.stages, seed, descending=config.descending)
