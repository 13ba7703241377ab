"""Rotary position embedding. Paper: arXiv:2104.09864, eq. 34, in the half-split layout of Llama.

Shapes: T tokens, H heads, K head size.
"""

import torch


class Rope:
    """Angles for every position up to the context, computed once and shared by all layers."""

    def __init__(self, head_size: int, theta: float, context: int) -> None:
        frequency_k = theta ** -(torch.arange(0, head_size, 2, dtype=torch.int64).float() / head_size)
        angle_Pk = torch.outer(torch.arange(context).float(), frequency_k)
        angle_PK = torch.cat([angle_Pk, angle_Pk], dim=-1)
        self.cos_PK, self.sin_PK = angle_PK.cos(), angle_PK.sin()

    def tables(self, pos_T: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines of these positions, each of shape (T, 1, K)."""
        return self.cos_PK[pos_T].unsqueeze(1), self.sin_PK[pos_T].unsqueeze(1)


def rotate(x_THK: torch.Tensor, tables: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Turn each pair (k, k + K/2) of every head by its token's angle."""
    cos_T1K, sin_T1K = tables
    first, second = x_THK.chunk(2, dim=-1)
    return x_THK * cos_T1K + torch.cat([-second, first], dim=-1) * sin_T1K
