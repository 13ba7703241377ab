"""Grouped-query attention (arXiv:2305.13245): projections and rotation; the mixing is the caller's Attend.

Shapes: T tokens, D model width, H heads, G key-value heads, K head size.
"""

import torch
from torch import nn

from mainspring.models.attend import Attend
from mainspring.models.config import AttentionSpec
from mainspring.models.parts.rope import rotate

Tables = tuple[torch.Tensor, torch.Tensor]


class Attention(nn.Module):
    def __init__(self, spec: AttentionSpec, width: int, layer: int) -> None:
        super().__init__()
        self.spec, self.layer = spec, layer
        query_size, kv_size = spec.num_heads * spec.head_size, spec.num_kv_heads * spec.head_size
        self.q = nn.Linear(width, query_size, bias=spec.bias)
        self.k = nn.Linear(width, kv_size, bias=spec.bias)
        self.v = nn.Linear(width, kv_size, bias=spec.bias)
        self.o = nn.Linear(query_size, width, bias=spec.bias)

    def forward(self, x_TD: torch.Tensor, rope: Tables | None, attend: Attend) -> torch.Tensor:
        num_tokens, size = x_TD.shape[0], self.spec.head_size
        q_THK = self.q(x_TD).view(num_tokens, self.spec.num_heads, size)
        k_TGK = self.k(x_TD).view(num_tokens, self.spec.num_kv_heads, size)
        v_TGK = self.v(x_TD).view(num_tokens, self.spec.num_kv_heads, size)
        if rope is not None:
            q_THK, k_TGK = rotate(q_THK, rope), rotate(k_TGK, rope)
        o_THK = attend(self.layer, q_THK, k_TGK, v_TGK, causal=self.spec.causal)
        return self.o(o_THK.reshape(num_tokens, -1))
