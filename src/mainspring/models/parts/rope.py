"""Rotary position embedding. Paper: arXiv:2104.09864, eq. 34, in the half-split layout of Llama.

Shapes: P positions, T tokens, H heads, K head size, k half the rotated size.
"""

import torch

from mainspring.models.config import RopeSpec
from mainspring.models.parts.base import Tables


class Rope:
    """Angles for every position up to the context, computed once and shared by all layers."""

    def __init__(self, spec: RopeSpec, head_size: int, context: int) -> None:
        frequency_k = frequencies(spec, spec.size or head_size)
        angle_Pk = torch.outer(torch.arange(context).float(), frequency_k)
        angle_PK = torch.cat([angle_Pk, angle_Pk], dim=-1)
        self.cos_PK, self.sin_PK = angle_PK.cos(), angle_PK.sin()

    def tables(self, pos_T: torch.Tensor) -> Tables:
        """Cosines and sines of these positions, each of shape (T, 1, K)."""
        return self.cos_PK[pos_T].unsqueeze(1), self.sin_PK[pos_T].unsqueeze(1)


def frequencies(spec: RopeSpec, size: int) -> torch.Tensor:
    """Radians a position for each rotated pair, (k,)."""
    return spec.theta ** -(torch.arange(0, size, 2, dtype=torch.int64).float() / size)


def rotate(x_THK: torch.Tensor, tables: Tables) -> torch.Tensor:
    """Turn each pair (k, k + K/2) of every head by its token's angle; numbers behind them stay."""
    cos_T1K, sin_T1K = tables
    size = cos_T1K.shape[-1]
    if size < x_THK.shape[-1]:
        turned, rest = x_THK.split([size, x_THK.shape[-1] - size], dim=-1)
        return torch.cat([rotate(turned, tables), rest], dim=-1)
    left, right = x_THK.chunk(2, dim=-1)
    return x_THK * cos_T1K + torch.cat([-right, left], dim=-1) * sin_T1K
