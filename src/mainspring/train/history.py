"""What a run left of its steps: metrics.jsonl read back, and what it comes to."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate
from pathlib import Path

from mainspring.train.metrics import NAME, VALID_LOSS, StepReport

NUM_PLACES = 10
STEP_FIELDS = {each.name for each in fields(StepReport)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to; losses are of training, `valid_loss` of what was held out (None: never looked at).

    loss: of the last step. min_loss: the lowest of a step. seconds: of the steps alone. skipped: updates not made.
    """

    steps: int
    tokens: int
    trained_tokens: float
    seconds: float
    tokens_per_s: float
    loss: float
    min_loss: float
    min_loss_step: int
    valid_loss: float | None
    best_valid_loss: float | None
    best_valid_step: int | None
    skipped: int


@dataclass(frozen=True, kw_only=True)
class History:
    """The steps of a run, in order."""

    reports: tuple[StepReport, ...]

    @cached_property
    def steps(self) -> list[int]:
        """Numbers of the steps, from 1."""
        return [each.step for each in self.reports]

    @cached_property
    def trained_tokens(self) -> list[float]:
        """Weights that had been used after each step."""
        return list(accumulate(each.trained_tokens for each in self.reports))

    @cached_property
    def losses(self) -> list[float]:
        return [each.loss for each in self.reports]

    @cached_property
    def valid(self) -> list[tuple[int, float]]:
        """(place of the step in `reports`, loss of what is held out) wherever it was looked at."""
        return [
            (at, each.metrics[VALID_LOSS])
            for at, each in enumerate(self.reports)
            if VALID_LOSS in each.metrics
        ]

    def outcome(self) -> Outcome | None:
        """What the run came to so far, None before its first step."""
        if not self.reports:
            return None
        seconds = sum(each.seconds for each in self.reports)
        tokens = sum(each.tokens for each in self.reports)
        lowest = min(range(len(self.reports)), key=lambda at: _finite(self.losses[at]))
        best = min(self.valid, key=lambda looked: _finite(looked[1]), default=None)
        return Outcome(
            steps=self.steps[-1], tokens=tokens, trained_tokens=self.trained_tokens[-1], seconds=seconds,
            tokens_per_s=tokens / seconds, loss=self.losses[-1], min_loss=self.losses[lowest],
            min_loss_step=self.steps[lowest], valid_loss=self.valid[-1][1] if self.valid else None,
            best_valid_loss=best[1] if best else None, best_valid_step=self.steps[best[0]] if best else None,
            skipped=sum("skipped" in each.metrics for each in self.reports),
        )  # fmt: skip

    def mean_losses(self, places: Sequence[float], at: Sequence[float]) -> list[float | None]:
        """Mean loss of the steps up to each place behind the one before; None where there is none.

        Args:
            places: ends of stretches, ascending.
            at: where each step stands, such as `steps` or `trained_tokens`.

        """
        means: list[float | None] = []
        before = float("-inf")
        for place in places:
            inside = [loss for loss, where in zip(self.losses, at, strict=True) if before < where <= place]
            inside = [loss for loss in inside if math.isfinite(loss)]  # a skipped step's may not be
            means.append(sum(inside) / len(inside) if inside else None)
            before = place
        return means


def read(folder: Path) -> History:
    """The history in a run's folder; an empty one where it trained nothing yet."""
    path = folder / NAME
    reports = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            values = json.loads(line)
        except ValueError:  # the run was killed while it wrote its last line
            break
        reports.append(StepReport(**{name: values[name] for name in STEP_FIELDS}))
    return History(reports=tuple(reports))


def places(most: float) -> list[float]:
    """Ends of equal stretches up to `most`."""
    return [most * (number + 1) / NUM_PLACES for number in range(NUM_PLACES)]


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.inf
