"""What every step of a run will learn from, known before the first one."""

from dataclasses import dataclass

from mainspring.errors import ConfigError
from mainspring.train.config import TrainConfig
from mainspring.train.sources.base import Cursor, Source, order


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One update: segments by index, read from `start` on; `trained_tokens` is the sum of their weights."""

    start: Cursor
    indices: tuple[int, ...]
    trained_tokens: float


def plan_steps(source: Source, config: TrainConfig) -> list[Step]:
    """Steps of a run: whole segments in order, until the passes are done or the next segment would exceed
    `max_trained_tokens`; the last step of a pass takes what is left.
    """
    steps: list[Step] = []
    budget = float(config.max_trained_tokens)
    for epoch in range(config.epochs):
        indices = order(source.num_segments, config.seed, epoch)
        for position in range(0, len(indices), config.segments_per_step):
            wanted = indices[position : position + config.segments_per_step]
            taken, budget = _take(source, wanted, budget)
            if taken:
                trained = sum(source.segment(index).trained_tokens for index in taken)
                start = Cursor(epoch=epoch, position=position)
                steps.append(Step(start=start, indices=tuple(taken), trained_tokens=trained))
            if len(taken) < len(wanted):
                return _checked(steps, source, config)
    return _checked(steps, source, config)


def _take(source: Source, wanted: list[int], budget: float) -> tuple[list[int], float]:
    taken: list[int] = []
    for index in wanted:
        weight = source.segment(index).trained_tokens
        if weight > budget:
            break
        budget -= weight
        taken.append(index)
    return taken, budget


def _checked(steps: list[Step], source: Source, config: TrainConfig) -> list[Step]:
    if not steps:
        raise ConfigError(
            f"`max_trained_tokens` is {config.max_trained_tokens:,}, but the first of "
            f"{source.num_segments} segments alone trains more. Raise the limit, or give shorter answers."
        )
    return steps
