"""The learning rate of every step: a warm-up, and what follows it.

Papers: arXiv:1608.03983 (cosine), arXiv:2404.06395, section 4 (WSD: warm-up, stable, decay), arXiv:2405.18392
(its decay by 1 - sqrt).

    constant   rises, stays
    linear     rises, falls evenly to the floor                 floor = min_lr_fraction * lr, reached where
    cosine     rises, falls along half a cosine to the floor            the step after the last one would be
    wsd        rises, stays, falls to the floor over the last decay_fraction
    step       rises, stays, drops by drop_factor at every part of drop_at, not below the floor
"""

import math
from typing import Literal, Self

import pydantic
from pydantic import Field

from mainspring.config import Config
from mainspring.errors import ConfigError

Kind = Literal["cosine", "linear", "constant", "step", "wsd"]
ONLY_OF: dict[str, tuple[Kind, ...]] = {
    "min_lr_fraction": ("cosine", "linear", "step", "wsd"),
    "drop_at": ("step",),
    "drop_factor": ("step",),
    "decay_fraction": ("wsd",),
    "decay_shape": ("wsd",),
}


class Schedule(Config):
    """How the learning rate goes over a run."""

    lr: float = Field(default=2e-4, gt=0, description="highest learning rate")
    schedule: Kind = Field(default="cosine", description="how the learning rate falls after the warm-up")
    warmup_fraction: float = Field(
        default=0.05, ge=0, lt=1, description="part of the steps over which the rate rises"
    )
    warmup_steps: int | None = Field(
        default=None, ge=0, description="steps over which the rate rises; given, warmup_fraction is not used"
    )
    min_lr_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="part of lr at which the schedule ends, and below which it never is",
    )
    drop_at: tuple[float, ...] = Field(
        default=(0.5, 0.75), description="step: parts of the run after which the rate drops"
    )
    drop_factor: float = Field(
        default=0.1, gt=0, lt=1, description="step: what a drop multiplies the rate by"
    )
    decay_fraction: float = Field(
        default=0.2, gt=0, le=1, description="wsd: last part of the run, in which the rate falls"
    )
    decay_shape: Literal["linear", "sqrt"] = Field(
        default="linear", description="wsd: how it falls there; sqrt is 1 - sqrt, fast first"
    )

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        for name, kinds in ONLY_OF.items():
            default = type(self).model_fields[name].default
            if self.schedule not in kinds and getattr(self, name) != default:
                raise ValueError(
                    f"`{name}` is {getattr(self, name)}, but the schedule '{self.schedule}' has none. "
                    f"Leave it out, or set schedule to {' or '.join(kinds)}."
                )
        if not all(0 < part < 1 for part in self.drop_at) or list(self.drop_at) != sorted(set(self.drop_at)):
            raise ValueError(f"`drop_at` is {self.drop_at}; it must rise, between 0 and 1.")
        return self


def num_warmup(num_steps: int, config: Schedule) -> int:
    """Steps of the warm-up.

    Raises:
        ConfigError: it is longer than the run.

    """
    if config.warmup_steps is None:
        return math.ceil(config.warmup_fraction * num_steps)
    if config.warmup_steps > num_steps:
        raise ConfigError(
            f"`optim.warmup_steps` is {config.warmup_steps}, but the run has {num_steps} steps. Lower it, or leave "
            "it out: `optim.warmup_fraction` goes with the run's length."
        )
    return config.warmup_steps


def lr_at(step: int, num_steps: int, config: Schedule) -> float:
    """Learning rate of a step, counted from 0.

    The last step of the warm-up and the first after it have the whole `lr`; what falls would be at its floor at
    step `num_steps`, so that the last step of the run still moves the weights.
    """
    warmup = num_warmup(num_steps, config)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    return config.lr * _factor(step, warmup, num_steps, config)


def _factor(step: int, warmup: int, num_steps: int, config: Schedule) -> float:
    floor = config.min_lr_fraction
    match config.schedule:
        case "constant":
            return 1.0
        case "step":
            return max(floor, config.drop_factor ** _drops(step, warmup, num_steps, config))
        case "linear":
            left = 1 - _done(step, warmup, num_steps)
        case "cosine":
            left = (1 + math.cos(math.pi * _done(step, warmup, num_steps))) / 2
        case "wsd":
            start = max(warmup, num_steps - math.ceil(config.decay_fraction * num_steps))
            done = _done(step, start, num_steps)
            left = 1 - (done if config.decay_shape == "linear" else math.sqrt(done))
    return floor + (1 - floor) * left


def _drops(step: int, warmup: int, num_steps: int, config: Schedule) -> int:
    places = [part * num_steps for part in config.drop_at]
    if places and places[0] <= warmup:
        raise ConfigError(
            f"`optim.drop_at` begins with {config.drop_at[0]}, which is step {places[0]:.0f} of {num_steps}, within "
            f"the warm-up of {warmup} steps. Let it drop later, or warm up for less."
        )
    return sum(step >= place for place in places)


def _done(step: int, start: int, num_steps: int) -> float:
    """Part of the steps between `start` and the end that lies behind, 0 to 1."""
    return min(1.0, max(0.0, (step - start) / max(1, num_steps - start)))
