"""What a run asks of itself: may this step move the weights, was this evaluation the best, is it time to stop?

Three state machines without a tensor in them. What each remembers is plain numbers, goes into a checkpoint with
`state()` and comes back by its constructor, so that a resumed run decides as the whole one.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import pydantic
from pydantic import Field

from mainspring.config import Config

GAUSSIAN = 1.4826  # what makes the median absolute deviation of a normal distribution its standard deviation
LEAST_DEVIATION = 1e-3  # of the median: losses that hardly differ would make a spike of any rounding
MAX_NAMES = 20


class GuardConfig(Config):
    """When a step is skipped, and when the run stops for it."""

    max_skips: int = Field(
        default=0, ge=0, description="steps skipped in a row that a run bears; at one more it stops"
    )
    spike_factor: float | None = Field(
        default=None, gt=0,
        description="a loss so many robust deviations above the median is a spike; left out, none is looked for",
    )  # fmt: skip
    window: int = Field(
        default=50,
        ge=5,
        description="last losses that a spike is held against; before there are so many, none is",
    )

    @pydantic.model_validator(mode="after")
    def _has_spikes_to_find(self) -> Self:
        if self.spike_factor is None and self.window != type(self).model_fields["window"].default:
            raise ValueError(
                f"`window` is {self.window}, but no spike is looked for; set `spike_factor`, such as 6, or leave it out"
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What to do with a step; `reason` says why it is not to be taken, for the log or the error."""

    action: Literal["take", "skip", "stop"]
    reason: str = ""


class Guard:
    """Holds every step's loss and gradient norm against what came before.

    On several ranks it must be given the loss and the norm of the whole step: then all decide alike.
    """

    def __init__(self, config: GuardConfig, state: Mapping[str, Any] | None = None) -> None:
        self._config = config
        state = state or {}
        self._recent: list[float] = list(state.get("recent", ()))[-config.window :]
        self.skipped_in_row: int = state.get("skipped_in_row", 0)
        self.skipped: int = state.get("skipped", 0)

    def state(self) -> dict[str, Any]:
        """What the constructor takes back, as JSON."""
        return {"recent": list(self._recent), "skipped_in_row": self.skipped_in_row, "skipped": self.skipped}

    def judge(self, step: int, loss: float, grad_norm: float, names: Sequence[str]) -> Verdict:
        """Whether step number `step`, counted from 1, may move the weights; `names` are its segments'."""
        fault = self._fault(step, loss, grad_norm)
        if fault is None:
            self._recent = [*self._recent, loss][-self._config.window :]
            self.skipped_in_row = 0
            return Verdict(action="take")
        self.skipped += 1
        self.skipped_in_row += 1
        shown = ", ".join(names[:MAX_NAMES]) + (
            f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        )
        said = f"{fault}; the weights are as they were before it. It learnt from: {shown}."
        if self.skipped_in_row <= self._config.max_skips:
            return Verdict(action="skip", reason=said)
        row = f" {self.skipped_in_row} steps in a row were skipped." if self.skipped_in_row > 1 else ""
        advice = "Look at these, lower `optim.lr`, leave bf16, or let `guard.max_skips` steps be skipped."
        return Verdict(action="stop", reason=f"{said}{row} {advice}")

    def _fault(self, step: int, loss: float, grad_norm: float) -> str | None:
        for what, value in (("loss", loss), ("gradient", grad_norm)):
            if not math.isfinite(value):
                return f"The {what} of step {step} is not finite"
        if self._config.spike_factor is None or len(self._recent) < self._config.window:
            return None
        middle = statistics.median(self._recent)
        spread = GAUSSIAN * statistics.median(abs(each - middle) for each in self._recent)
        spread = max(spread, LEAST_DEVIATION * abs(middle))
        if loss <= middle + self._config.spike_factor * spread:
            return None
        return (
            f"The loss of step {step} is {loss:.4g}, a spike: the median of the last {len(self._recent)} is "
            f"{middle:.4g}, and {(loss - middle) / spread if spread else math.inf:.1f} deviations lie between"
        )


class StopConfig(Config):
    """When a run that is evaluated stops early."""

    patience: int | None = Field(
        default=None, ge=1,
        description="evaluations in a row without a better one after which the run stops; left out, it never does",
    )  # fmt: skip
    min_delta: float = Field(
        default=0.0, ge=0, description="by how much an evaluation must be better than the best to count"
    )

    @pydantic.model_validator(mode="after")
    def _has_patience(self) -> Self:
        if self.min_delta and self.patience is None:
            raise ValueError(
                f"`min_delta` is {self.min_delta}, but without `patience` no run stops early; set it, or leave "
                "min_delta out"
            )
        return self


class EarlyStop:
    """Counts the evaluations since the last that was better; a lower value is the better one."""

    def __init__(self, config: StopConfig, state: Mapping[str, Any] | None = None) -> None:
        self._config = config
        self._best: float | None = (state or {}).get("best")
        self._waited: int = (state or {}).get("waited", 0)

    def state(self) -> dict[str, Any]:
        """What the constructor takes back, as JSON."""
        return {"best": self._best, "waited": self._waited}

    def should_stop(self, value: float) -> bool:
        """Take an evaluation in; whether it was one too many. What is not finite is never better."""
        if math.isfinite(value) and (self._best is None or value < self._best - self._config.min_delta):
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        return self._config.patience is not None and self._waited >= self._config.patience


class Best:
    """Remembers the best evaluation, the earliest of equal ones; a lower value is the better one."""

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self.step: int | None = (state or {}).get("step")
        self.value: float | None = (state or {}).get("value")

    def state(self) -> dict[str, Any]:
        """What the constructor takes back, as JSON."""
        return {"step": self.step, "value": self.value}

    def is_best(self, step: int, value: float) -> bool:
        """Take the evaluation after a step in; whether the state of that step is now the one to keep."""
        if not math.isfinite(value) or (self.value is not None and value >= self.value):
            return False
        self.step, self.value = step, value
        return True
