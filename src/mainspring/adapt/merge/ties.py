"""TIES: trim small changes, elect a sign for every number, take the mean of those that have it.

Paper: arXiv:2306.01708, algorithm 1. Ours: each tensor is trimmed for itself, as peft does, not all weights
together, so that no more than one tensor is in memory; and a parent's weight multiplies its trimmed changes after
the election, in place of the paper's one lambda.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field

from mainspring.adapt.merge.base import Method, weighted_sum


class Ties(Method):
    """Task vectors, trimmed, with those of the losing sign left out."""

    kind: Literal["ties"] = "ties"
    density: float = Field(
        default=0.2, gt=0, le=1, description="part of each tensor's largest changes that is kept"
    )

    def combine(self, tensors: Sequence[torch.Tensor], weights: Sequence[float], name: str) -> torch.Tensor:
        return elect([trim(each, self.density) for each in tensors], weights)


def trim(tensor: torch.Tensor, density: float) -> torch.Tensor:
    """The tensor with all but the largest `density` of its numbers, by magnitude, set to 0; those that are as large
    as the smallest kept one are kept, too.
    """
    num_kept = int(density * tensor.numel())
    if not num_kept:
        return torch.zeros_like(tensor)
    size = tensor.abs()
    smallest_kept = size.flatten().kthvalue(tensor.numel() - num_kept + 1).values
    return torch.where(size >= smallest_kept, tensor, 0.0)


def elect(tensors: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """Where the tensors' sum is not negative, the weighted sum of their positive numbers over how many these are;
    elsewhere that of the negative ones.
    """
    is_positive = weighted_sum(tensors, [1.0] * len(tensors)) >= 0
    total = torch.zeros_like(tensors[0])
    count = torch.zeros(total.shape, dtype=torch.int16)
    for tensor, weight in zip(tensors, weights, strict=True):
        agrees = (tensor != 0) & ((tensor > 0) == is_positive)
        total.add_(torch.where(agrees, tensor, 0.0), alpha=weight)
        count += agrees
    return total.div_(count.clamp_(min=1))
