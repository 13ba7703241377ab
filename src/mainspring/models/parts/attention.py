"""Grouped-query attention (arXiv:2305.13245): projections and rotation; the mixing is the caller's Attend.

Shapes: T tokens, S tokens of the source, D model width, H heads, G key-value heads, K head size.
"""

from dataclasses import replace

import torch
from torch import nn

from mainspring.models.attend import Scoring
from mainspring.models.config import AttentionSpec
from mainspring.models.parts.base import Pass
from mainspring.models.parts.half import shared
from mainspring.models.parts.norm import build_norm
from mainspring.models.parts.positions import Slopes
from mainspring.models.parts.rope import rotate


def scoring_of(spec: AttentionSpec) -> Scoring:
    """How the scores of such an attention are made, a stack's bias aside."""
    scale = spec.head_size**-0.5 if spec.scale is None else spec.scale
    bias = None if spec.alibi is None else Slopes(spec.num_heads, spec.alibi)
    return Scoring(scale=scale, causal=spec.causal, window=spec.window, softcap=spec.softcap, bias=bias)


class Attention(nn.Module):
    """Tokens of a segment look at each other."""

    def __init__(self, spec: AttentionSpec, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer, self.scoring = spec, layer, scoring_of(spec)
        query_size, kv_size = spec.num_heads * spec.head_size, spec.num_kv_heads * spec.head_size
        self.q = nn.Linear(width, query_size * (2 if spec.has_gate else 1), bias=spec.bias)
        self.k = nn.Linear(width, kv_size, bias=spec.bias)
        self.v = nn.Linear(width, kv_size, bias=spec.bias)
        self.o = nn.Linear(query_size, width, bias=spec.out_bias)
        self.q_norm = build_norm(spec.head_norm, spec.head_size) if spec.head_norm else None
        self.k_norm = build_norm(spec.head_norm, spec.head_size) if spec.head_norm else None

    def forward(self, x_TD: torch.Tensor, around: Pass) -> torch.Tensor:
        x_TD = shared(x_TD)
        q_THK, gate_THK = self._queries(x_TD)
        k_TGK, v_TGK = self._heads(self.k(x_TD)), self._heads(self.v(x_TD))
        if self.q_norm is not None and self.k_norm is not None:
            q_THK, k_TGK = self.q_norm(q_THK), self.k_norm(k_TGK)
        if self.spec.rope is not None:
            tables = around.rope(self.spec.rope, self.spec.head_size)
            q_THK, k_TGK = rotate(q_THK, tables), rotate(k_TGK, tables)
        scoring = self.scoring if around.bias is None else replace(self.scoring, bias=around.bias)
        o_THK = around.attend(self.layer, q_THK, k_TGK, v_TGK, scoring)
        if gate_THK is not None:
            o_THK = o_THK * gate_THK.sigmoid()
        return self.o(o_THK.flatten(1))

    def _queries(self, x_TD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Queries, and what gates each head's output if anything does."""
        q_THK = self._heads(self.q(x_TD))
        if not self.spec.has_gate:
            return q_THK, None
        both_THK = q_THK.unflatten(1, (-1, 2))
        return both_THK[:, :, 0], both_THK[:, :, 1]

    def _heads(self, x_TX: torch.Tensor) -> torch.Tensor:
        return x_TX.unflatten(1, (-1, self.spec.head_size))


class CrossAttention(Attention):
    """Tokens of a decoder's segment look at the hidden states that the encoder made of its source."""

    def forward(self, x_TD: torch.Tensor, around: Pass) -> torch.Tensor:
        source_SD = around.source_SD
        assert source_SD is not None, "a decoder with an encoder was given no source"
        q_THK = self._heads(self.q(x_TD))
        o_THK = around.attend.cross(
            self.layer,
            q_THK,
            lambda: (self._heads(self.k(source_SD)), self._heads(self.v(source_SD))),
            self.scoring,
        )
        return self.o(o_THK.flatten(1))
