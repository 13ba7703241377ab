"""Virtual tokens: prompt tuning puts learnt vectors before a text, prefix tuning learnt keys and values.

Papers: arXiv:2104.08691, section 2 (prompt); arXiv:2101.00190, section 4 (prefix). Both move the positions of the
real tokens on by the number of virtual ones, as peft does, so files are exchanged with it.

Shapes: T tokens of packed segments, B segments of L tokens, P virtual tokens, D width, H heads, G key-value heads,
K head size.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, Protocol

import torch
from pydantic import Field
from torch import nn

from mainspring.adapt import base as adapters
from mainspring.adapt.base import Adapter
from mainspring.errors import ConfigError, ContextLengthError
from mainspring.models.attend import Attend, PackedAttend, Scoring, attend_batch
from mainspring.models.model import Model
from mainspring.models.parts.attention import Attention
from mainspring.models.parts.base import Pass

ROOT = "virtual"
STD = 0.02


class _Virtual(Protocol):
    num_virtual: int

    def run(
        self, model: Model, ids_T: torch.Tensor, pos_T: torch.Tensor, attend: PackedAttend
    ) -> torch.Tensor: ...


class Prompt(Adapter):
    """Learnt vectors before every text."""

    kind: Literal["prompt"] = "prompt"
    num_virtual: int = Field(default=20, ge=1, description="vectors before every text")
    init_ids: tuple[int, ...] = Field(
        default=(), description="ids whose embeddings they begin as, repeated as needed"
    )

    def attach(self, model: nn.Module, name: str, *, seed: int) -> None:
        """Begin with embeddings of ids, or with those of ids drawn at random."""
        assert isinstance(model, Model)
        _refuse_others(model, "prompt")
        table = model.embedding.weight.detach()
        generator = torch.Generator().manual_seed(seed)
        ids = (
            list(self.init_ids)
            or torch.randint(len(table), (self.num_virtual,), generator=generator).tolist()
        )
        chosen = [ids[at % len(ids)] for at in range(self.num_virtual)]
        _put_beside(model, self, name, Vectors(table[chosen].clone()), {})


class Prefix(Adapter):
    """Learnt keys and values before every text, in every layer."""

    kind: Literal["prefix"] = "prefix"
    num_virtual: int = Field(default=20, ge=1, description="virtual tokens that every token sees")

    def attach(self, model: nn.Module, name: str, *, seed: int) -> None:
        """Put some on every layer."""
        assert isinstance(model, Model)
        _refuse_others(model, "prefix")
        generator = torch.Generator().manual_seed(seed)
        dtype, made = model.embedding.weight.dtype, {}
        for layer, block in enumerate(model.config.blocks):
            spec = block.attention
            size = (self.num_virtual, spec.num_kv_heads, spec.head_size)
            keys, values = (torch.randn(size, generator=generator).mul(STD).to(dtype) for _ in range(2))
            made[f"blocks.{layer}.mixer"] = KeysAndValues(keys, values)
        _put_beside(model, self, name, Shift(self.num_virtual), made)


class Vectors(nn.Module):
    """P vectors; a run of the model has them before each segment and gives the real tokens' hidden states."""

    def __init__(self, vector_PD: torch.Tensor) -> None:
        super().__init__()
        self.vector_PD = nn.Parameter(vector_PD)
        self.num_virtual = len(vector_PD)

    def run(
        self, model: Model, ids_T: torch.Tensor, pos_T: torch.Tensor, attend: PackedAttend
    ) -> torch.Tensor:
        """Hidden states of the real tokens."""
        num = self.num_virtual
        x_TD = model.embedding(ids_T)
        rows, pos, real = [], [], []
        start = at = 0
        for length in attend.lengths:
            rows += [self.vector_PD, x_TD[start : start + length]]
            pos += [torch.arange(num), pos_T[start : start + length] + num]
            real.append(torch.arange(at + num, at + num + length))
            start, at = start + length, at + num + length
        whole_T = torch.cat(pos)
        longer = PackedAttend([length + num for length in attend.lengths])
        hidden_TD = model.run(torch.cat(rows), whole_T, longer, partial(model.rope_tables, whole_T))
        return hidden_TD[torch.cat(real)]


class Shift(nn.Module):
    """Nothing but the number of virtual tokens that the real ones stand behind."""

    def __init__(self, num_virtual: int) -> None:
        super().__init__()
        self.num_virtual = num_virtual

    def run(
        self, model: Model, ids_T: torch.Tensor, pos_T: torch.Tensor, attend: PackedAttend
    ) -> torch.Tensor:
        """Hidden states, with positions moved on."""
        return Model.forward(model, ids_T, pos_T + self.num_virtual, attend)


class KeysAndValues(nn.Module):
    """What a layer's tokens see beside their own segment."""

    def __init__(self, k_PGK: torch.Tensor, v_PGK: torch.Tensor) -> None:
        super().__init__()
        self.k_PGK, self.v_PGK = nn.Parameter(k_PGK), nn.Parameter(v_PGK)

    def forward(self, base: nn.Module, x_TD: torch.Tensor, around: Pass) -> torch.Tensor:
        return base(x_TD, replace(around, attend=PrefixAttend(around.attend, self.k_PGK, self.v_PGK)))


class PrefixAttend(PackedAttend):
    """Attention within each segment and to the virtual tokens before it, which no window hides."""

    def __init__(self, attend: Attend, k_PGK: torch.Tensor, v_PGK: torch.Tensor) -> None:
        super().__init__(_packed(attend).lengths)
        self._k_PGK, self._v_PGK = k_PGK, v_PGK

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGV: torch.Tensor, scoring: Scoring
    ) -> torch.Tensor:
        num, out, start = len(self._k_PGK), [], 0
        scoring = replace(scoring, num_global=num if scoring.window is not None else 0)
        for length, same in itertools.groupby(self.lengths):
            count = len(list(same))
            rows = slice(start, start + length * count)
            q_BHLK, k_BGLK, v_BGLV = (
                x[rows].unflatten(0, (count, length)).transpose(1, 2) for x in (q_THK, k_TGK, v_TGV)
            )
            before_K, before_V = (
                x.to(q_BHLK.dtype).transpose(0, 1).expand(count, -1, -1, -1)
                for x in (self._k_PGK, self._v_PGK)
            )
            k_BGMK, v_BGMV = torch.cat([before_K, k_BGLK], 2), torch.cat([before_V, v_BGLV], 2)
            out.append(attend_batch(q_BHLK, k_BGMK, v_BGMV, scoring, first=num).transpose(1, 2).flatten(0, 1))
            start = rows.stop
        return torch.cat(out)


def _put_beside(
    model: Model, config: Adapter, name: str, virtual: nn.Module, made: dict[str, nn.Module]
) -> None:
    """Lay parts over modules, and one over the model itself, which then asks it how to run."""
    adapters.check_free(model, name)
    if ROOT not in dict(model.named_children()):
        model.add_module(ROOT, nn.Identity())
        model.forward = partial(_forward, model)  # type: ignore[method-assign]
    adapters.put_on(model, config, name, {ROOT: virtual, **made})


def _forward(
    model: Model,
    ids_T: torch.Tensor,
    pos_T: torch.Tensor,
    attend: Attend,
    source_SD: torch.Tensor | None = None,
) -> torch.Tensor:
    record = adapters.adapters_of(model)
    over = record.wrapped.get(ROOT)
    if over is None or record.active_key is None or record.active_key not in over.parts:
        return Model.forward(model, ids_T, pos_T, attend, source_SD)
    virtual: _Virtual = over.parts[record.active_key]  # type: ignore[assignment]
    longest = int(pos_T.max()) + 1 + virtual.num_virtual
    if longest > model.config.context:
        raise ContextLengthError(
            f"A text and {virtual.num_virtual} virtual tokens have {longest:,} together; the model takes "
            f"{model.config.context:,}. Shorten the text."
        )
    return virtual.run(model, ids_T, pos_T, _packed(attend))


def _packed(attend: Attend) -> PackedAttend:
    if not isinstance(attend, PackedAttend):
        raise ConfigError(
            "Virtual tokens are trained and measured, not served from a cache. Serve a lora adapter instead."
        )
    return attend


def _refuse_others(model: Model, kind: str) -> None:
    odd: Sequence[str] = sorted(
        {
            type(adapters.plain_at(model, f"blocks.{at}.mixer")).__name__
            for at, _ in enumerate(model.blocks)
            if not isinstance(adapters.plain_at(model, f"blocks.{at}.mixer"), Attention)
        }
    )
    if odd or model.encoder is not None:
        raise ConfigError(
            f"A {kind} adapter is made for attention layers alone; this {model.config.family} model has "
            f"{', '.join(odd) or 'an encoder'}. Use lora, which fits every linear."
        )
