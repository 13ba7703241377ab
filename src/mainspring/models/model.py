"""The one builder: a ModelConfig becomes a module that trains and serves.

Shapes: T tokens (all segments flat, one behind the other), S tokens of the source, N chosen ones, D width,
V vocabulary, C labels.

    source_ids_S -> embedding -> encoder -----> source_SD
                                                   |
    ids_T, pos_T -> embedding -> front -> blocks --+--> hidden_TD -> head -> scores (N, V) or (N, C)
"""

from functools import partial

import torch
from torch import nn

from mainspring.models.attend import Attend
from mainspring.models.config import ModelConfig, RopeSpec
from mainspring.models.parts.base import Tables
from mainspring.models.parts.front import Front
from mainspring.models.parts.heads import Head
from mainspring.models.parts.rope import Rope
from mainspring.models.parts.stack import Stack


class Model(Stack):
    """Any family: what it is made of stands in its config."""

    embedding: nn.Embedding

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, config.width, nn.Embedding(config.vocab_size, config.width))
        self.config = config
        self.front = Front()
        self.encoder = Stack(config.encoder, config.width) if config.encoder else None
        self.head = Head(config.head, config.width, config.vocab_size) if config.head else None
        self._ropes: dict[tuple[RopeSpec, int], Rope] = {}

    def forward(
        self,
        ids_T: torch.Tensor,
        pos_T: torch.Tensor,
        attend: Attend,
        source_SD: torch.Tensor | None = None,
        types_T: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Hidden states of every token.

        Args:
            ids_T: token ids, int64.
            pos_T: position of each token within its segment, int64, below `config.context`.
            attend: who attends to whom.
            source_SD: what `encode` made of the segments' sources, for models with an encoder.
            types_T: which of two texts a token is of, int64, for encoders that tell them apart; 0 if not given.

        Returns:
            hidden_TD, after the final norm, in the weights' dtype.

        """
        x_TD = self.embedding(ids_T)
        if types_T is not None and self.token_types is not None:  # the stack adds type 0 to every token
            x_TD = x_TD + (self.token_types(types_T) - self.token_types.weight[0])
        return self.front(x_TD, pos_T, attend, partial(self._blocks, source_SD))

    def encode(self, ids_S: torch.Tensor, pos_S: torch.Tensor, attend: Attend) -> torch.Tensor:
        """source_SD: hidden states of the encoder, which `forward` takes."""
        assert self.encoder is not None, f"a {self.config.family} model has no encoder of its own"
        return self.encoder.run(self.embedding(ids_S), pos_S, attend, partial(self._rope, pos_S))

    def logits(self, hidden_ND: torch.Tensor) -> torch.Tensor:
        """The head's scores of the hidden states that need them: (N, V) for tokens, (N, C) for labels."""
        assert self.head is not None, f"this {self.config.family} model has no head"
        return self.head(hidden_ND, self.embedding.weight)

    def _blocks(
        self, source_SD: torch.Tensor | None, x_TD: torch.Tensor, pos_T: torch.Tensor, attend: Attend
    ) -> torch.Tensor:
        return self.run(x_TD, pos_T, attend, partial(self._rope, pos_T), source_SD)

    def _rope(self, pos_T: torch.Tensor, spec: RopeSpec, head_size: int) -> Tables:
        key = (spec, head_size)
        if key not in self._ropes:
            with torch.inference_mode(mode=False):  # made while serving, they must still train
                self._ropes[key] = Rope(spec, head_size, self.config.context)
        return self._ropes[key].tables(pos_T)
