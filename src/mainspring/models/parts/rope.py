"""Rotary position embedding. Paper: arXiv:2104.09864, eq. 34, in the half-split layout of Llama.

Shapes: P positions, T tokens, H heads, K head size, k half the rotated size.
"""

import math

import torch

from mainspring.models.config import RopeScaling, RopeSpec
from mainspring.models.parts.base import Tables
from mainspring.models.parts.half import is_half, turned


class Rope:
    """Angles for every position up to the context, computed once and shared by all layers."""

    def __init__(self, spec: RopeSpec, head_size: int, context: int) -> None:
        frequency_k, amplitude = frequencies(spec, spec.size or head_size)
        angle_Pk = torch.outer(torch.arange(context).float(), frequency_k)
        angle_PK = torch.cat([angle_Pk, angle_Pk], dim=-1)
        self.cos_PK, self.sin_PK = angle_PK.cos() * amplitude, angle_PK.sin() * amplitude

    def tables(self, pos_T: torch.Tensor) -> Tables:
        """Cosines and sines of these positions, each of shape (T, 1, K)."""
        return self.cos_PK[pos_T].unsqueeze(1), self.sin_PK[pos_T].unsqueeze(1)


def frequencies(spec: RopeSpec, size: int) -> tuple[torch.Tensor, float]:
    """Radians a position for each rotated pair, (k,), and what the rotated numbers are multiplied with."""
    scaling = spec.scaling
    theta = spec.theta
    if scaling is not None and scaling.kind == "ntk":
        theta *= scaling.factor ** (size / (size - 2))
    frequency_k = theta ** -(torch.arange(0, size, 2, dtype=torch.int64).float() / size)
    if scaling is None or scaling.kind in ("ntk", "dynamic"):
        return frequency_k, 1.0
    if scaling.kind == "linear":
        return frequency_k / scaling.factor, 1.0
    if scaling.kind == "llama3":
        return _llama3(frequency_k, scaling), 1.0
    return _yarn(frequency_k, theta, size, scaling), yarn_amplitude(scaling)


def _llama3(frequency_k: torch.Tensor, scaling: RopeScaling) -> torch.Tensor:
    """Short waves stay, long ones are stretched, those between in part. Paper: arXiv:2407.21783, 3.4.2."""
    assert scaling.original_context is not None, "the family's file asks for the original context"
    turns_k = scaling.original_context * frequency_k / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept_k = ((turns_k - low) / (high - low)).clamp(0, 1)
    return frequency_k * (kept_k + (1 - kept_k) / scaling.factor)


def _yarn(frequency_k: torch.Tensor, theta: float, size: int, scaling: RopeScaling) -> torch.Tensor:
    """Paper: arXiv:2309.00071, eq. 17 to 20; the ramp runs over the pairs' numbers, as published code has it."""
    original = scaling.original_context
    assert original is not None, "the family's file asks for the original context"

    def pair_of(turns: float) -> float:
        """Which pair, counted in numbers of a head, turns that often in the original context."""
        return size * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair_of(scaling.beta_fast), pair_of(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    ramp_k = ((torch.arange(size // 2).float() - low) / (max(high - low, 1e-3))).clamp(0, 1)
    return frequency_k * (1 - ramp_k) + frequency_k / scaling.factor * ramp_k


def yarn_amplitude(scaling: RopeScaling) -> float:
    """sqrt(1 / t) of arXiv:2309.00071, eq. 22."""
    if scaling.attention_factor is not None:
        return scaling.attention_factor
    if scaling.mscale and scaling.mscale_all_dim:
        return sharpened(scaling.factor, scaling.mscale) / sharpened(scaling.factor, scaling.mscale_all_dim)
    return sharpened(scaling.factor, 1.0)


def sharpened(factor: float, mscale: float) -> float:
    """How much scores are sharpened for a context that is `factor` times as long."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def rotate(x_THK: torch.Tensor, tables: Tables) -> torch.Tensor:
    """Turn each pair (k, k + K/2) of every head by its token's angle; numbers behind them stay."""
    cos_T1K, sin_T1K = tables
    size = cos_T1K.shape[-1]
    if size < x_THK.shape[-1]:
        rotated, rest = x_THK.split([size, x_THK.shape[-1] - size], dim=-1)
        return torch.cat([rotate(rotated, tables), rest], dim=-1)
    if x_THK.dtype == torch.bfloat16 and is_half(x_THK):
        half = size // 2
        return turned(x_THK, cos_T1K[..., :half], sin_T1K[..., :half])
    left, right = x_THK.chunk(2, dim=-1)
    return x_THK * cos_T1K + torch.cat([-right, left], dim=-1) * sin_T1K
