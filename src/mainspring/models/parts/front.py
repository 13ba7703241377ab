"""The way from the embedding into the blocks: a place for adapters that put tokens in front of the text.

Shapes: T tokens, D width.
"""

from collections.abc import Callable

import torch
from torch import nn

from mainspring.models.attend import Attend

Blocks = Callable[[torch.Tensor, torch.Tensor, Attend], torch.Tensor]
"""x_TD, pos_T and who attends to whom, to the hidden states of as many tokens."""


class Front(nn.Module):
    """Passes everything on as it is; what stands in its place may bring more rows and take them out again."""

    def forward(
        self, x_TD: torch.Tensor, pos_T: torch.Tensor, attend: Attend, blocks: Blocks
    ) -> torch.Tensor:
        return blocks(x_TD, pos_T, attend)
