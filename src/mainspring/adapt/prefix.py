"""Prefix tuning: learnt keys and values of virtual tokens in front of every segment, in every layer.

Paper: arXiv:2101.00190, section 4.2 and, for the net that makes the table while it is trained, section 4.3:
P[i] = MLP(P'[i]). The keys are what the scores see, so they are neither normalized nor rotated. As in peft the
text's positions begin behind the prefix. Ours: a window does not end the sight of it.

Shapes: T tokens, P virtual tokens, D model width, H heads, G key-value heads, K head size, L tokens of each of B
segments, C numbers of P', as many as a layer's key has, E width of the net, N layers, X numbers of a virtual
token: keys and values of every layer.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from mainspring.adapt import base as adapters
from mainspring.adapt.base import Adapter
from mainspring.adapt.virtual import FRONT, Surroundings, check_model, check_pass
from mainspring.errors import ConfigError
from mainspring.models.attend import Attend, Run, Scoring, attend_batch
from mainspring.models.cache import CachedAttend
from mainspring.models.config import AttentionSpec
from mainspring.models.model import Model
from mainspring.models.parts.front import Blocks


class Prefix(Adapter):
    """Learnt keys and values before every text, in every layer.

    >>> Prefix(num_virtual=4).net_width is None
    True
    """

    kind: Literal["prefix"] = "prefix"
    num_virtual: int = Field(default=20, ge=1, description="virtual tokens that every token sees")
    net_width: int | None = Field(
        default=None,
        ge=1,
        description="inner width of the net that makes keys and values while they are trained and is folded into "
        "them when saved; without it they are learnt as they are",
    )
    spread: float = Field(default=0.02, ge=0, description="standard deviation of what they begin as")

    def attach(self, model: nn.Module, name: str, *, seed: int) -> None:
        """Put some on every layer."""
        assert isinstance(model, Model)
        made = KeysAndValues(model, self, torch.Generator().manual_seed(seed))
        adapters.put_on(model, self, name, {FRONT: made})


class Net(nn.Module):
    """U tanh(V P' + v) + u, row by row; what makes the table while it is trained."""

    def __init__(self, num_virtual: int, small: int, inner: int, num_numbers: int) -> None:
        super().__init__()
        self.small_PC = nn.Parameter(torch.zeros(num_virtual, small))
        self.down_EC = nn.Parameter(torch.zeros(inner, small))
        self.down_bias_E = nn.Parameter(torch.zeros(inner))
        self.up_XE = nn.Parameter(torch.zeros(num_numbers, inner))
        self.up_bias_X = nn.Parameter(torch.zeros(num_numbers))

    def draw(self, spread: float, generator: torch.Generator) -> None:
        """Values that make a table of about that spread."""
        inner, small = self.down_EC.shape
        with torch.no_grad():
            self.small_PC.normal_(generator=generator)
            self.down_EC.normal_(std=1 / math.sqrt(small), generator=generator)
            self.up_XE.normal_(std=spread / math.sqrt(inner), generator=generator)

    def forward(self) -> torch.Tensor:
        low_PE = torch.tanh(functional.linear(self.small_PC, self.down_EC, self.down_bias_E))
        return functional.linear(low_PE, self.up_XE, self.up_bias_X)


class KeysAndValues(nn.Module):
    """The table of P rows, or the net that makes it."""

    def __init__(self, model: Model, config: Prefix, generator: torch.Generator | None) -> None:
        super().__init__()
        self.num_virtual, self.context = config.num_virtual, model.config.context
        self.shape = (model.config.num_layers, 2, *size_of(model))
        num_numbers = math.prod(self.shape)
        self.table_PX = self.net = None
        if config.net_width is None:
            self.table_PX = nn.Parameter(torch.zeros(config.num_virtual, num_numbers))
        else:
            self.net = Net(config.num_virtual, math.prod(self.shape[2:]), config.net_width, num_numbers)
        if generator is not None and self.net is not None:
            self.net.draw(config.spread, generator)
        elif generator is not None and self.table_PX is not None:
            nn.init.normal_(self.table_PX, std=config.spread, generator=generator)
        like = model.embedding.weight
        self.to(dtype=like.dtype, device=like.device)

    def table(self) -> torch.Tensor:
        """Keys and values as attention sees them, (P, X)."""
        if self.net is not None:
            return self.net()
        assert self.table_PX is not None
        return self.table_PX

    def forward(
        self, front: nn.Module, x_TD: torch.Tensor, pos_T: torch.Tensor, attend: Attend, blocks: Blocks
    ) -> torch.Tensor:
        around = check_pass(attend, self.num_virtual, self.context)
        prefixed = PrefixedAttend(around, self.table().unflatten(1, self.shape))
        return front(x_TD, pos_T + self.num_virtual, prefixed, blocks)


class PrefixedAttend:
    """An Attend in which every segment has the prefix's keys and values before its own: table (P, layers, 2, G, K)."""

    def __init__(self, around: Surroundings, table_PN2GK: torch.Tensor) -> None:
        self.around, self.table_PN2GK, self.is_cache = around, table_PN2GK, around.is_cache

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGV: torch.Tensor, scoring: Scoring
    ) -> torch.Tensor:
        k_PGK, v_PGV = self.table_PN2GK[:, layer].to(k_TGK.dtype).unbind(1)
        scoring = replace(scoring, num_global=len(k_PGK) + scoring.num_global)
        if isinstance(self.around, CachedAttend):
            self.around.begin_with(layer, k_PGK, v_PGV)
            return self.around(layer, q_THK, k_TGK, v_TGV, scoring)
        out = [
            _mix(q_THK[run.rows], _before(k_PGK, k_TGK, run), _before(v_PGV, v_TGV, run), scoring)
            for run in self.around.runs(layer)
        ]
        o_THV = torch.cat(out)
        return functional.pad(o_THV, (0, 0, 0, 0, 0, len(q_THK) - len(o_THV)))

    def cross(
        self,
        layer: int,
        q_THK: torch.Tensor,
        source: Callable[[], tuple[torch.Tensor, torch.Tensor]],
        scoring: Scoring,
    ) -> torch.Tensor:
        return self.around.cross(layer, q_THK, source, scoring)

    def runs(self, layer: int) -> Iterator[Run]:
        return self.around.runs(layer)

    def pad(self, num_rows: int) -> int:
        return self.around.pad(num_rows)


def _before(x_PGK: torch.Tensor, x_TGK: torch.Tensor, run: Run) -> torch.Tensor:
    """The prefix before every segment's own, (B, G, P + L, K)."""
    own_BLGK = x_TGK[run.rows].unflatten(0, (run.count, run.length))
    return torch.cat([x_PGK.expand(run.count, -1, -1, -1), own_BLGK], dim=1).transpose(1, 2)


def _mix(q_THK: torch.Tensor, k_BGMK: torch.Tensor, v_BGMV: torch.Tensor, scoring: Scoring) -> torch.Tensor:
    q_BHLK = q_THK.unflatten(0, (len(k_BGMK), -1)).transpose(1, 2)
    first = k_BGMK.shape[2] - q_BHLK.shape[2]
    return attend_batch(q_BHLK, k_BGMK, v_BGMV, scoring, first).transpose(1, 2).flatten(0, 1)


def size_of(model: Model) -> tuple[int, int]:
    """Number and size of the key-value heads, which must be the same in all layers of a table.

    Raises:
        ConfigError: layers without keys and values of their own, or of different sizes.

    """
    check_model(model, "prefix")
    mixers = [block.mixer for block in model.config.blocks]
    sizes = {(each.num_kv_heads, each.head_size) for each in mixers if isinstance(each, AttentionSpec)}
    others = sorted({each.kind for each in mixers if not isinstance(each, AttentionSpec)})
    if others or len(sizes) != 1:
        what = (
            f"mixers of kind {', '.join(others)}" if others else f"key-value heads of sizes {sorted(sizes)}"
        )
        raise ConfigError(
            f"This {model.config.family} model has {what}; a prefix needs attention with heads of one size in "
            "every layer. Take one of kind 'prompt', 'lora', 'ia3' or 'bottleneck'."
        )
    return sizes.pop()
