"""TIES: trim small changes, elect a sign for every number, take the mean of those that have it.

Paper: arXiv:2306.01708, algorithm 1. Ours: each tensor is trimmed for itself, as peft does, not all weights
together, so that no more than one tensor is in memory; and a parent's weight multiplies its trimmed changes after
the election, in place of the paper's one lambda.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field

from mainspring.adapt.merge.base import Method


class Ties(Method):
    """Task vectors, trimmed, with those of the losing sign left out."""

    kind: Literal["ties"] = "ties"
    density: float = Field(
        default=0.2, gt=0, le=1, description="part of each tensor's largest changes that is kept"
    )

    def combine(self, tensors: Sequence[torch.Tensor], weights: Sequence[float], name: str) -> torch.Tensor:
        return elect([trim(each, self.density) for each in tensors], weights)


def trim(tensor: torch.Tensor, density: float) -> torch.Tensor:
    """The tensor with all but the largest `density` of its numbers, by magnitude, set to 0."""
    num_kept = int(density * tensor.numel())
    kept = tensor.abs().flatten().topk(num_kept).indices
    trimmed = torch.zeros_like(tensor).flatten()
    trimmed[kept] = tensor.flatten()[kept]
    return trimmed.view_as(tensor)


def elect(tensors: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """Where the tensors' sum is not negative, the weighted sum of their positive numbers over how many these are;
    elsewhere that of the negative ones.
    """
    is_positive = sum(tensors[1:], start=tensors[0].clone()) >= 0
    total, count = torch.zeros_like(tensors[0]), torch.zeros_like(tensors[0])
    for tensor, weight in zip(tensors, weights, strict=True):
        agrees = (tensor != 0) & ((tensor > 0) == is_positive)
        total += torch.where(agrees, tensor * weight, 0.0)
        count += agrees
    return total / count.clamp(min=1)
