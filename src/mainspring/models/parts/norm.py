"""Normalizations over the width of a token: RMS (arXiv:1910.07467) and layer norm (arXiv:1607.06450)."""

from torch import nn

from mainspring.models.config import NormSpec


def build_norm(spec: NormSpec, width: int) -> nn.Module:
    return nn.RMSNorm(width, eps=spec.eps) if spec.kind == "rms" else nn.LayerNorm(width, eps=spec.eps)
