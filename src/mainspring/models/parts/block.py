"""One layer: a mixer, the look at the encoder if there is one, and a feed-forward part, each added to x.

before:  x + part(norm(x))     behind:  norm(x + part(x))     around:  x + norm(part(norm(x)))
nowhere: part(x), as recurrent nets were stacked
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from mainspring.models.config import BlockSpec, FfnSpec, MoeSpec, NormSpec
from mainspring.models.parts.attention import Attention, CrossAttention
from mainspring.models.parts.base import Pass
from mainspring.models.parts.delta import Delta
from mainspring.models.parts.dropout import drop
from mainspring.models.parts.ffn import build_ffn
from mainspring.models.parts.latent import LatentAttention
from mainspring.models.parts.longformer import Longformer
from mainspring.models.parts.lstm import Lstm
from mainspring.models.parts.mamba import Mamba
from mainspring.models.parts.mamba2 import Mamba2
from mainspring.models.parts.moe import Mixture
from mainspring.models.parts.norm import build_norm

Part = Callable[[torch.Tensor], torch.Tensor]
MIXERS = {
    "attention": Attention,
    "latent": LatentAttention,
    "mamba": Mamba,
    "mamba2": Mamba2,
    "delta": Delta,
    "longformer": Longformer,
    "lstm": Lstm,
}


class Block(nn.Module):
    """`mixer_norm`, `cross_norm` and `ffn_norm` are the norms of their parts; `..._out_norm` those behind.

    `dropout`: how much of what a part adds is left out in learning; it is the trainer's to set, and no part of a model.
    """

    dropout = 0.0

    def __init__(self, spec: BlockSpec, width: int, layer: int) -> None:
        super().__init__()
        self.place = spec.norm_place
        around = spec.norm if spec.norm_place == "around" else None
        norm = None if spec.norm_place == "nowhere" else spec.norm
        first = norm if spec.has_mixer_norm else None
        self.mixer_norm, self.mixer_out_norm = _norm(first, width), _norm(around, width)
        self.mixer = MIXERS[spec.mixer.kind](spec.mixer, width, layer)
        self.cross = CrossAttention(spec.cross, width, layer) if spec.cross else None
        self.cross_norm = _norm(norm, width) if spec.cross else None
        self.ffn = _ffn(spec.ffn, width) if spec.ffn else None
        self.has_experts = isinstance(spec.ffn, MoeSpec)
        self.ffn_norm = _norm(norm, width) if spec.ffn else None
        self.ffn_out_norm = _norm(around, width) if spec.ffn else None

    def forward(self, x_TD: torch.Tensor, around: Pass) -> torch.Tensor:
        x_TD = self._add(x_TD, self.mixer_norm, lambda y_TD: self.mixer(y_TD, around), self.mixer_out_norm)
        if self.cross is not None:
            cross = self.cross
            x_TD = self._add(x_TD, self.cross_norm, lambda y_TD: cross(y_TD, around), None)
        if self.ffn is not None:
            ffn = partial(self.ffn, around=around) if self.has_experts else self.ffn
            x_TD = self._add(x_TD, self.ffn_norm, ffn, self.ffn_out_norm)
        return x_TD

    def _add(
        self, x_TD: torch.Tensor, norm: nn.Module | None, part: Part, out_norm: nn.Module | None
    ) -> torch.Tensor:
        if self.place == "nowhere":
            return drop(part(x_TD), self, self.dropout)
        if self.place == "behind":
            x_TD = x_TD + drop(part(x_TD), self, self.dropout)
            return x_TD if norm is None else norm(x_TD)
        y_TD = part(x_TD if norm is None else norm(x_TD))
        return x_TD + drop(y_TD if out_norm is None else out_norm(y_TD), self, self.dropout)


def _ffn(spec: FfnSpec | MoeSpec, width: int) -> nn.Module:
    return Mixture(spec, width) if isinstance(spec, MoeSpec) else build_ffn(spec, width)


def _norm(spec: NormSpec | None, width: int) -> nn.Module | None:
    return None if spec is None else build_norm(spec, width)
