"""DARE: drop changes by chance, and rescale those that stay so that their expectation is what it was.

Paper: arXiv:2311.03099, eq. 3, with drop rate p = 1 - density.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field

from mainspring.adapt.merge.base import Method, weighted_sum
from mainspring.adapt.merge.ties import elect


class Dare(Method):
    """Task vectors, thinned by chance, then added up or elected among."""

    kind: Literal["dare"] = "dare"
    density: float = Field(default=0.5, gt=0, le=1, description="chance of a change to stay")
    combined_by: Literal["linear", "ties"] = Field(
        default="linear",
        description="what is left: its weighted sum, or the election of TIES without its trimming",
    )
    seed: int = Field(default=0, description="of what is dropped")

    def combine(self, tensors: Sequence[torch.Tensor], weights: Sequence[float], name: str) -> torch.Tensor:
        thinned = [
            thin(each, self.density, f"{self.seed}/{name}/{index}") for index, each in enumerate(tensors)
        ]
        return weighted_sum(thinned, weights) if self.combined_by == "linear" else elect(thinned, weights)


def thin(tensor: torch.Tensor, density: float, seed: str) -> torch.Tensor:
    """Every number stays with the chance `density` and is divided by it; `seed` alone decides which."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7], "big")
    draws = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(number))
    return torch.where(draws < density, tensor / density, 0.0)
