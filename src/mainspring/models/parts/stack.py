"""Blocks on top of an embedding: a decoder, an encoder, or one of the two of a pair.

embedded -> scale, positions, types, norm -> blocks -> norm -> hidden

Shapes: T tokens, D width.
"""

from collections.abc import Callable

import torch
from torch import nn

from mainspring.models.attend import Attend
from mainspring.models.config import RopeSpec, StackSpec
from mainspring.models.parts.base import Pass, Tables
from mainspring.models.parts.block import Block
from mainspring.models.parts.dropout import drop
from mainspring.models.parts.norm import build_norm
from mainspring.models.parts.positions import RelativeBias, build_positions


class Stack(nn.Module):
    """An embedding is the stack's own or, in an encoder beside a decoder, the decoder's.

    `dropout`: how much of the embedded tokens is left out in learning, as in a block.
    """

    dropout = 0.0

    def __init__(self, spec: StackSpec, width: int, embedding: nn.Embedding | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = embedding
        self.positions = build_positions(spec.positions, width) if spec.positions else None
        self.relative = RelativeBias(spec.relative) if spec.relative else None
        self.token_types = nn.Embedding(spec.num_token_types, width) if spec.num_token_types else None
        self.embedding_norm = build_norm(spec.embedding_norm, width) if spec.embedding_norm else None
        self.blocks = nn.ModuleList(Block(each, width, layer) for layer, each in enumerate(spec.blocks))
        self.final_norm = build_norm(spec.final_norm, width) if spec.final_norm else None

    def run(
        self,
        x_TD: torch.Tensor,
        pos_T: torch.Tensor,
        attend: Attend,
        rope: Callable[[RopeSpec, int], Tables],
        source_SD: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Hidden states of embedded tokens."""
        if self.spec.embedding_scale != 1.0:
            x_TD = x_TD * torch.tensor(self.spec.embedding_scale, dtype=x_TD.dtype)
        if self.positions is not None:
            x_TD = x_TD + self.positions(pos_T)
        if self.token_types is not None:
            x_TD = x_TD + self.token_types.weight[0]
        if self.embedding_norm is not None:
            x_TD = self.embedding_norm(x_TD)
        x_TD = drop(x_TD, self, self.dropout)
        around = Pass(pos_T=pos_T, attend=attend, rope=rope, source_SD=source_SD, bias=self.relative)
        for block in self.blocks:
            x_TD = block(x_TD, around)
        return x_TD if self.final_norm is None else self.final_norm(x_TD)
