"""What all layers of one forward pass share, and what a mixer is.

Shapes: T tokens, S tokens of the source, D model width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from mainspring.models.attend import Attend, Bias
from mainspring.models.config import RopeSpec

Tables = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines of every token's position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward pass.

    pos_T: each token's position in its segment. attend: who attends to whom. rope: the rotary tables of a
    spec and a head's size, made once for all layers. source_SD: the encoder's hidden states. bias: what the
    stack adds to its scores by distance (T5).
    """

    pos_T: torch.Tensor
    attend: Attend
    rope: Callable[[RopeSpec, int], Tables]
    source_SD: torch.Tensor | None = None
    bias: Bias | None = None


class Mixer(Protocol):
    """A part that lets tokens see each other; made from its spec, the model's width and its layer's number."""

    def __call__(self, x_TD: torch.Tensor, around: Pass) -> torch.Tensor: ...
