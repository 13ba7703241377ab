"""Several sets of shards as one stream of segments, in exact proportions.

Every set has a share, which may change over the run. For each segment that is drawn, every set is credited its
share of that segment's size, and the set that it comes from pays the size: the next one comes from the set that
is owed most. Credits are integers and add up to zero, so nothing drifts:

    no set is ever more than its longest segment ahead of its share
"""

import bisect
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from pydantic import Field

from mainspring.config import Config
from mainspring.data.curriculum import Order
from mainspring.data.shards import Shards
from mainspring.errors import ConfigError

ONE = 2**32  # a share of 1, as an integer
CHUNK = 1024  # segments of a set that are looked up at once
SAMPLES = 1000  # of a schedule, for its mean

Point = tuple[float, float]
Schedule = float | tuple[Point, ...]


class MixConfig(Config):
    """Which part of a run comes from which dataset."""

    weights: dict[str, Schedule] = Field(
        default={},
        description="by name: a number, or a schedule [[progress, weight], ...] with progress from 0 to 1, "
        "linear between; empty: by size",
    )
    unit: Literal["tokens", "segments"] = Field(default="tokens", description="what weights are shares of")
    total: int = Field(
        default=0, ge=0, description="units of the whole run; 0: as many as all data has, times `passes`"
    )
    passes: int = Field(default=1, ge=0, description="where `total` is 0: how often all data; 0 never ends")


class Pick(msgspec.Struct, frozen=True):
    """A segment that was drawn: which set, which segment of it, how long."""

    part: int
    index: int
    length: int


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """How far a stream has been drawn: segments and credit of each set, and units in all."""

    taken: tuple[int, ...]
    credit: tuple[int, ...]
    amount: int = 0


class Mixture:
    """A stream of segments from several sets of shards.

    Args:
        parts: shards by name.
        orders: the order of each, by the same names.
        config: shares and length.

    Raises:
        ConfigError: weights of unknown names or for none, negative ones, a schedule that is none.

    """

    def __init__(self, parts: Mapping[str, Shards], orders: Mapping[str, Order], config: MixConfig) -> None:
        self.names = tuple(parts)
        self._parts, self._orders = tuple(parts.values()), tuple(orders[name] for name in parts)
        self._by_tokens = config.unit == "tokens"
        self._sizes = [part.num_tokens if self._by_tokens else part.num_segments for part in self._parts]
        self.total = config.total or config.passes * sum(self._sizes)
        weights = config.weights or dict(zip(self.names, map(float, self._sizes), strict=True))
        self._schedules = _schedules(self.names, weights, has_end=bool(self.total))
        self._fixed = None if any(len(each) > 1 for each in self._schedules) else self.shares(0)
        self._ahead: list[tuple[int, list[int], list[int]]] = [(-1, [], [])] * len(self._parts)

    def start(self) -> Drawn:
        nothing = (0,) * len(self._parts)
        return Drawn(taken=nothing, credit=nothing)

    def shares(self, amount: int) -> list[int]:
        """The share of each set after that many units, in parts of ONE; they add up to it."""
        progress = min(amount / self.total, 1.0) if self.total else 0.0
        weights = [_weight_at(each, progress) for each in self._schedules]
        shares = [int(weight / sum(weights) * ONE) for weight in weights]
        shares[shares.index(max(shares))] += ONE - sum(shares)
        return shares

    def take(self, drawn: Drawn, num_tokens: int) -> tuple[list[Pick], Drawn]:
        """Draw segments of at least `num_tokens` together, fewer at the end; none behind it."""
        taken, credit, amount = list(drawn.taken), list(drawn.credit), drawn.amount
        picks: list[Pick] = []
        found = 0
        while found < num_tokens and not (self.total and amount >= self.total):
            shares = self._fixed or self.shares(amount)
            ahead = [self._next(part, number) for part, number in enumerate(taken)]
            sizes = [length if self._by_tokens else 1 for _, length in ahead]
            owed = [due + share * size for due, share, size in zip(credit, shares, sizes, strict=True)]
            part = owed.index(max(owed))
            size = sizes[part]
            credit = [due + share * size for due, share in zip(credit, shares, strict=True)]
            credit[part] -= ONE * size
            taken[part] += 1
            amount += size
            picks.append(Pick(part, *ahead[part]))
            found += ahead[part][1]
        return picks, Drawn(taken=tuple(taken), credit=tuple(credit), amount=amount)

    def passes(self, drawn: Drawn) -> dict[str, float]:
        """How often each set was gone through: 2.5 means that half of it came a third time."""
        counts = zip(self.names, drawn.taken, self._parts, strict=True)
        return {name: taken / part.num_segments for name, taken, part in counts}

    def forecast(self) -> dict[str, float]:
        """How often each set will have been gone through at the end of the run; nothing without an end."""
        points = [self.shares(self.total * (2 * n + 1) // (2 * SAMPLES)) for n in range(SAMPLES)]
        means = [sum(shares) / SAMPLES / ONE for shares in zip(*points, strict=True)]
        each = zip(self.names, means, self._sizes, strict=True)
        return {name: mean * self.total / size for name, mean, size in each if self.total}

    def _next(self, part: int, number: int) -> tuple[int, int]:
        """Index and length of the segment that is the number-th of its set; found for many at once."""
        size = min(CHUNK, self._parts[part].num_segments)
        chunk, within = divmod(number, size)
        if self._ahead[part][0] != chunk:
            indices = self._orders[part].at(np.arange(chunk * size, (chunk + 1) * size))
            lengths = self._parts[part].lengths(indices)
            self._ahead[part] = (chunk, indices.tolist(), lengths.tolist())
        _, indices, lengths = self._ahead[part]
        return indices[within], lengths[within]


def _schedules(
    names: Sequence[str], weights: Mapping[str, Schedule], *, has_end: bool
) -> list[tuple[Point, ...]]:
    """Points (progress, weight) of each name."""
    unknown = [name for name in weights if name not in names]
    missing = [name for name in names if name not in weights]
    if unknown or missing:
        raise ConfigError(
            f"`mix.weights` has no weight for {', '.join(missing) or 'none'} and names unknown "
            f"{', '.join(unknown) or 'none'}. Give one for each of {', '.join(names)}."
        )
    schedules: list[tuple[Point, ...]] = []
    for name in names:
        given = weights[name]
        points = ((0.0, float(given)),) if isinstance(given, int | float) else given
        _check_points(name, points)
        if len(points) > 1 and not has_end:
            raise ConfigError(
                f"The weight of '{name}' changes over a run without an end. Set `mix.total` or `mix.passes`."
            )
        schedules.append(points)
    for progress in {progress for points in schedules for progress, _ in points}:
        if not any(_weight_at(points, progress) for points in schedules):
            raise ConfigError(f"All of `mix.weights` are 0 at progress {progress:g}; one must be above.")
    return schedules


def _weight_at(points: Sequence[Point], progress: float) -> float:
    """The weight of a schedule, linear between its points and level outside of them."""
    place = bisect.bisect_right(points, progress, key=lambda point: point[0])
    if place in (0, len(points)):
        return points[min(place, len(points) - 1)][1]
    (before, low), (behind, high) = points[place - 1], points[place]
    return low + (high - low) * (progress - before) / (behind - before)


def _check_points(name: str, points: Sequence[Point]) -> None:
    progress = [at for at, _ in points]
    if not points or sorted(set(progress)) != progress or not 0 <= progress[0] <= progress[-1] <= 1:
        raise ConfigError(
            f"The schedule of '{name}' is {points}; progress must rise from 0 to 1: [[0, 2], [1, 0.5]]."
        )
    if not all(0 <= weight < float("inf") for _, weight in points):
        raise ConfigError(f"The weight of '{name}' is {points}; weights are finite and not negative.")
