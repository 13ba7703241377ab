"""Numbers that are none would make every loss none: found in weights and data before the first step."""

import math
from collections.abc import Iterable, Sequence

import torch

from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.train.batch import Segment


def check_weights(model: Model) -> None:
    """See that all weights are numbers.

    Raises:
        ConfigError: one is not; it is named.

    """
    for name, weight in [*model.named_parameters(), *model.named_buffers()]:
        if weight.is_floating_point() and not bool(torch.isfinite(weight.detach()).all()):
            wrong = int((~torch.isfinite(weight.detach())).sum())
            raise ConfigError(
                f"The weight {name} has {wrong:,} of {weight.numel():,} numbers that are not finite, so every loss "
                "would be none. Take another version of the model; this one was damaged or diverged."
            )


def check_numbers(segment: Segment) -> None:
    """See that all that a segment brings are numbers.

    Raises:
        ConfigError: one is not; the segment is named.

    """
    given = {"label": [segment.label], "reward": [segment.reward], "weight": segment.weight, **segment.extras}
    for name, values in given.items():
        if any(not math.isfinite(each) for each in _flat(values)):
            raise ConfigError(
                f"{segment.name} has a {name} that is not finite, so its loss would be none. Correct it, or leave the "
                "segment out."
            )


def _flat(values: Sequence[float | Sequence[float] | None]) -> Iterable[float]:
    for each in values:
        if isinstance(each, Sequence):
            yield from each
        elif each is not None:
            yield each
