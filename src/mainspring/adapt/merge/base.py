"""What a way of merging is: from the same tensor of several models to one tensor.

A method sees nothing but one tensor of each parent, so that models are merged one tensor at a time. Methods that
need a base are given what each parent has on top of it (its task vector, arXiv:2212.04089), and what they make
is added to the base; an adapter's product of factors is such a difference by nature.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch

from mainspring.config import Config


class Method(Config):
    """A way of merging."""

    needs_base: ClassVar[bool] = True

    def check(self, weights: Sequence[float]) -> None:
        """Raise ConfigError if these parents cannot be merged so."""

    def factors(self, weights: Sequence[float]) -> list[float] | None:
        """What each parent's tensor is multiplied by, for a method that is just a sum; None for any other."""
        return None

    def combine(self, tensors: Sequence[torch.Tensor], weights: Sequence[float], name: str) -> torch.Tensor:
        """One tensor of several of the same shape and dtype; `name` is the tensor's, where chance decides."""
        factors = self.factors(weights)
        assert factors is not None, f"{type(self).__name__} is neither a sum nor says what else it is"
        return weighted_sum(tensors, factors)


def merge_tensors(
    method: Method,
    tensors: Sequence[torch.Tensor],
    weights: Sequence[float],
    base: torch.Tensor | None,
    name: str,
) -> torch.Tensor:
    """The merged weights of one tensor of each parent; `base` is the base's where the method needs one."""
    if base is None:
        return method.combine(tensors, weights, name)
    return base + method.combine([each - base for each in tensors], weights, name)


def weighted_sum(tensors: Sequence[torch.Tensor], factors: Sequence[float]) -> torch.Tensor:
    total = tensors[0] * factors[0]
    for tensor, factor in zip(tensors[1:], factors[1:], strict=True):
        total.add_(tensor, alpha=factor)
    return total
