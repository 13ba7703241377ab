"""Normalizations over the width of a token: RMS (arXiv:1910.07467) and layer norm (arXiv:1607.06450)."""

import torch
from torch import nn
from torch.nn import functional

from mainspring.models.config import NormSpec
from mainspring.models.parts.half import RmsNorm


class OffsetRmsNorm(nn.Module):
    """RMS norm whose weight is stored as its distance from one, so that decay pulls towards one (Gemma)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x_TD: torch.Tensor) -> torch.Tensor:
        full = torch.promote_types(x_TD.dtype, torch.float32)
        normed_TD = functional.rms_norm(x_TD.to(full), x_TD.shape[-1:], eps=self.eps)
        return (normed_TD * (1.0 + self.weight.to(full))).to(x_TD.dtype)


def build_norm(spec: NormSpec, width: int) -> nn.Module:
    if spec.unit_offset:
        return OffsetRmsNorm(width, spec.eps)
    if spec.kind == "rms":
        return RmsNorm(width, eps=spec.eps)
    return nn.LayerNorm(width, eps=spec.eps, bias=spec.bias)
