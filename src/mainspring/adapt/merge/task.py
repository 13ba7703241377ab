"""Task arithmetic. Paper: arXiv:2212.04089: W = W_0 + sum of weight_i (W_i - W_0); a negative weight unlearns."""

from collections.abc import Sequence
from typing import Literal

from mainspring.adapt.merge.base import Method


class Task(Method):
    """Task vectors, each times its weight, added to the base."""

    kind: Literal["task"] = "task"

    def factors(self, weights: Sequence[float]) -> list[float]:
        return list(weights)
