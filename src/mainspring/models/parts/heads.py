"""What is made of hidden states: scores of tokens, of labels, or one number.

Shapes: N chosen hidden states, D width, V vocabulary, C labels.
"""

import torch
from torch import nn
from torch.nn import functional

from mainspring.models.config import HeadSpec
from mainspring.models.parts.ffn import ACTIVATIONS
from mainspring.models.parts.norm import build_norm


class Head(nn.Module):
    """hidden -> (dense, activation, norm) -> scores; a tied one multiplies with the embedding."""

    def __init__(self, spec: HeadSpec, width: int, vocab_size: int) -> None:
        super().__init__()
        self.spec = spec
        num_scores = vocab_size if spec.kind in ("lm", "masked") else spec.num_labels
        self.dense = nn.Linear(width, width, bias=spec.dense_bias) if spec.dense else None
        self.norm = build_norm(spec.norm, width) if spec.norm else None
        self.out = None if spec.tied else nn.Linear(width, num_scores, bias=spec.bias)
        self.bias = nn.Parameter(torch.zeros(num_scores)) if spec.tied and spec.bias else None

    def forward(self, hidden_ND: torch.Tensor, embedding_VD: torch.Tensor) -> torch.Tensor:
        """Scores (N, V) or (N, C)."""
        x_ND = hidden_ND if self.spec.scale == 1.0 else hidden_ND * self.spec.scale
        if self.dense is not None and self.spec.dense is not None:
            x_ND = ACTIVATIONS[self.spec.dense](self.dense(x_ND))
        if self.norm is not None:
            x_ND = self.norm(x_ND)
        scores_NV = functional.linear(x_ND, embedding_VD, self.bias) if self.out is None else self.out(x_ND)
        cap = self.spec.softcap
        return scores_NV if cap is None else torch.tanh(scores_NV / cap) * cap
