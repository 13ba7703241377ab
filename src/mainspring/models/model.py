"""The one builder: a ModelConfig becomes a module that trains and serves.

Shapes: T tokens (all segments flat, one behind the other), N of them chosen, D width, V vocabulary.

    ids_T, pos_T -> embedding (+ positions, types, norm) -> blocks -> norm -> hidden_TD -> logits_NV
"""

import torch
from torch import nn
from torch.nn import functional

from mainspring.models.attend import Attend
from mainspring.models.config import AttentionSpec, ModelConfig
from mainspring.models.parts.attention import Tables
from mainspring.models.parts.block import Block
from mainspring.models.parts.norm import build_norm
from mainspring.models.parts.rope import Rope


class Model(nn.Module):
    """Any family: what it is made of stands in its config."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embedding = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Embedding(config.context, width) if config.learned_positions else None
        self.token_types = nn.Embedding(config.num_token_types, width) if config.num_token_types else None
        self.embedding_norm = build_norm(config.embedding_norm, width) if config.embedding_norm else None
        self.blocks = nn.ModuleList(Block(spec, width, layer) for layer, spec in enumerate(config.blocks))
        self.final_norm = build_norm(config.final_norm, width) if config.final_norm else None
        self.head = (
            nn.Linear(width, config.vocab_size, bias=False) if config.has_head and not config.tied else None
        )
        self._ropes: dict[tuple[int, float], Rope] = {}

    def forward(self, ids_T: torch.Tensor, pos_T: torch.Tensor, attend: Attend) -> torch.Tensor:
        """Hidden states of every token.

        Args:
            ids_T: token ids, int64.
            pos_T: position of each token within its segment, int64, below `config.context`.
            attend: who attends to whom.

        Returns:
            hidden_TD, after the final norm, in the weights' dtype.

        """
        x_TD = self.embedding(ids_T)
        if self.positions is not None:
            x_TD = x_TD + self.positions(pos_T)
        if self.token_types is not None:
            x_TD = x_TD + self.token_types.weight[0]
        if self.embedding_norm is not None:
            x_TD = self.embedding_norm(x_TD)
        for block, spec in zip(self.blocks, self.config.blocks, strict=True):
            x_TD = block(x_TD, self._tables(spec.attention, pos_T), attend)
        return x_TD if self.final_norm is None else self.final_norm(x_TD)

    def logits(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """Scores of every next token, (N, V), for the hidden states of the tokens that need them."""
        if self.head is not None:
            return self.head(hidden_ND)
        return functional.linear(hidden_ND, self.embedding.weight)

    def _tables(self, spec: AttentionSpec, pos_T: torch.Tensor) -> Tables | None:
        if spec.rope_theta is None:
            return None
        key = (spec.head_size, spec.rope_theta)
        if key not in self._ropes:
            with torch.inference_mode(mode=False):  # made while serving, they must still train
                self._ropes[key] = Rope(spec.head_size, spec.rope_theta, self.config.context)
        return self._ropes[key].tables(pos_T)
