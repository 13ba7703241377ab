"""Positions that are added: to the embedding, or to the scores of attention by distance.

Shapes: T tokens, D width, L queries, M keys, H heads, C buckets.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from mainspring.models.config import PositionSpec, RelativeSpec


class Learned(nn.Module):
    """A trained row for every position."""

    def __init__(self, spec: PositionSpec, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(spec.size, width).normal_())
        self.offset = spec.offset

    def forward(self, pos_T: torch.Tensor) -> torch.Tensor:
        return functional.embedding(pos_T + self.offset, self.weight)


class Sinusoidal(nn.Module):
    """Sines, then cosines, of a geometric row of frequencies. Paper: arXiv:1706.03762, section 3.5."""

    def __init__(self, spec: PositionSpec, width: int) -> None:
        super().__init__()
        self.width, self.offset = width, spec.offset

    def forward(self, pos_T: torch.Tensor) -> torch.Tensor:
        frequency_d = 10_000.0 ** (-torch.arange(0, self.width, 2).float() / self.width)
        angle_Td = (pos_T + self.offset).float().unsqueeze(1) * frequency_d
        return torch.cat([angle_Td.sin(), angle_Td.cos()], dim=1)


def build_positions(spec: PositionSpec, width: int) -> nn.Module:
    return Learned(spec, width) if spec.kind == "learned" else Sinusoidal(spec, width)


class RelativeBias(nn.Module):
    """A number for every head and bucket of distances. Paper: arXiv:1910.10683, section 2.1.

    Half of the buckets (of a direction) are single distances, the others widen geometrically up to the
    largest distance, behind which all are one.
    """

    def __init__(self, spec: RelativeSpec) -> None:
        super().__init__()
        self.spec = spec
        self.weight = nn.Parameter(torch.zeros(spec.num_buckets, spec.num_heads))

    def forward(self, distance_LM: torch.Tensor) -> torch.Tensor:
        """What is added to the scores, (H, L, M), for distances key - query."""
        return functional.embedding(self._bucket(distance_LM), self.weight).permute(2, 0, 1)

    def _bucket(self, distance_LM: torch.Tensor) -> torch.Tensor:
        if self.spec.causal:
            return self._bucket_of((-distance_LM).clamp(min=0), self.spec.num_buckets)
        half = self.spec.num_buckets // 2
        return self._bucket_of(distance_LM.abs(), half) + half * (distance_LM > 0)

    def _bucket_of(self, length_LM: torch.Tensor, num_buckets: int) -> torch.Tensor:
        single = num_buckets // 2
        growth = math.log(self.spec.max_distance / single)
        wide_LM = torch.log(length_LM.clamp(min=1).float() / single) / growth * (num_buckets - single)
        wide_LM = (single + wide_LM.long()).clamp(max=num_buckets - 1)
        return torch.where(length_LM < single, length_LM, wide_LM)


class Slopes:
    """Scores that fall with the distance, by a fixed slope for every head. Paper: arXiv:2108.12409, section 3.

    The slopes are 2 ** (-steepest * i / n) of n heads; where n is no power of two, every second one of the
    next power comes first, as the published models have it.
    """

    def __init__(self, num_heads: int, steepest: float) -> None:
        power = 2 ** math.ceil(math.log2(num_heads))
        slope_H = 2.0 ** (-steepest * torch.arange(1, power + 1) / power)
        if power != num_heads:
            slope_H = torch.cat([slope_H[1::2], slope_H[::2]])[:num_heads]
        self.slope_H = slope_H

    def __call__(self, distance_LM: torch.Tensor) -> torch.Tensor:
        """What is added to the scores, (H, L, M), for distances key - query."""
        return -distance_LM.abs() * self.slope_H.view(-1, 1, 1)
