"""Dropout of what parts add to a token and of the embedding. Paper: arXiv:1706.03762, section 5.4; arXiv:1207.0580."""

import torch
from torch import nn
from torch.nn import functional


def drop(x_TD: torch.Tensor, module: nn.Module, fraction: float) -> torch.Tensor:
    """While the module learns, this fraction of the numbers becomes zero and the rest grows to the same mean."""
    return functional.dropout(x_TD, fraction) if fraction and module.training else x_TD
