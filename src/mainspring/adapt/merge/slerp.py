"""Spherical interpolation of two models, tensor by tensor.

Source: Shoemake, Animating rotation with quaternion curves (SIGGRAPH 1985), section 3.3, for tensors as vectors.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch

from mainspring.adapt.merge.base import Method, weighted_sum
from mainspring.errors import ConfigError

PARALLEL = 1e-4  # radians from 0 or pi within which the arc is as good as a line, or is not defined


class Slerp(Method):
    """From the first towards the second along the arc between them, by the second's part of the weights."""

    needs_base: ClassVar[bool] = False
    kind: Literal["slerp"] = "slerp"

    def check(self, weights: Sequence[float]) -> None:
        if len(weights) != 2 or min(weights) < 0 or sum(weights) == 0:
            raise ConfigError(
                f"slerp goes from one parent to another: it takes 2 of them, with weights of 0 or more, not "
                f"{len(weights)} with {', '.join(map(str, weights))}. Merge more of them in several steps, or by "
                "`method.kind` linear."
            )

    def combine(self, tensors: Sequence[torch.Tensor], weights: Sequence[float], name: str) -> torch.Tensor:
        part = weights[1] / sum(weights)
        angle = _angle(*tensors)
        if not PARALLEL < angle < math.pi - PARALLEL:
            return weighted_sum(tensors, [1 - part, part])
        sines = [math.sin((1 - part) * angle), math.sin(part * angle)]
        return weighted_sum(tensors, [each / math.sin(angle) for each in sines])


def _angle(first: torch.Tensor, second: torch.Tensor) -> float:
    """Between two tensors as vectors, in radians; 0 if one of them is 0."""
    norms = float(first.double().norm() * second.double().norm())
    if not norms:
        return 0.0
    cosine = float(torch.dot(first.double().flatten(), second.double().flatten())) / norms
    return math.acos(max(-1.0, min(1.0, cosine)))
