"""Absolute positions, added to the embedding.

Shapes: P positions, T tokens, D width.
"""

import torch
from torch import nn
from torch.nn import functional

from mainspring.models.config import PositionSpec


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
