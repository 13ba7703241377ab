"""One layer: attention and feed-forward, each added to what came in.

norm_first:  x + part(norm(x))        otherwise:  norm(x + part(x))
"""

import torch
from torch import nn

from mainspring.models.attend import Attend
from mainspring.models.config import BlockSpec
from mainspring.models.parts.attention import Attention, Tables
from mainspring.models.parts.ffn import build_ffn
from mainspring.models.parts.norm import build_norm


class Block(nn.Module):
    def __init__(self, spec: BlockSpec, width: int, layer: int) -> None:
        super().__init__()
        self.norm_first = spec.norm_first
        self.attention = Attention(spec.attention, width, layer)
        self.ffn = build_ffn(spec.ffn, width)
        self.attention_norm = build_norm(spec.norm, width)
        self.ffn_norm = build_norm(spec.norm, width)

    def forward(self, x_TD: torch.Tensor, rope: Tables | None, attend: Attend) -> torch.Tensor:
        if self.norm_first:
            x_TD = x_TD + self.attention(self.attention_norm(x_TD), rope, attend)
            return x_TD + self.ffn(self.ffn_norm(x_TD))
        x_TD = self.attention_norm(x_TD + self.attention(x_TD, rope, attend))
        return self.ffn_norm(x_TD + self.ffn(x_TD))
