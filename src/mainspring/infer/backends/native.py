"""The native step: one call into C++ a step, weights in 8 or 4 bits, exact for every row.

The structs mirror infer/native/model.h, field by field.

Shapes: N rows of scores, V vocabulary, D width, I a linear's inputs, O its outputs, R rank.
"""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import numpy as np
import torch

from mainspring.adapt.lora import LoraPair
from mainspring.errors import MainspringError
from mainspring.infer.native.build import library
from mainspring.infer.request import EngineConfig
from mainspring.infer.scheduler import Work
from mainspring.models.config import AttentionSpec, FfnSpec, ModelConfig, NormSpec, RopeSpec
from mainspring.models.model import Model
from mainspring.models.parts.rope import frequencies

ACTIVATIONS = {"silu": 0, "gelu_tanh": 1, "relu": 2}
LANES, BLOCK = 16, 32  # numbers of a register, outputs of a block of packed weights
TOP = -1
NO_ADAPTER = -1


class Site(IntEnum):
    """A linear of a layer, those with the same input joined, or the head."""

    QKV, OUT, GATE_UP, DOWN, HEAD = range(5)


class Place(IntEnum):
    """A norm of a layer, or the last one."""

    MIXER, MIXER_OUT, FFN, FFN_OUT, QUERY, KEY, LAST = range(7)


class Sizes(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in (
            "width", "vocab_size", "num_layers", "block_size", "num_blocks", "kv_in_bytes", "threads",
        )),
        ("embedding_scale", ctypes.c_float), ("softcap", ctypes.c_float),
    ]  # fmt: skip


class LayerShape(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in (
            "num_heads", "num_kv_heads", "head_size", "rope", "window", "hidden", "activation", "norms_around",
        )),
        ("scale", ctypes.c_float), ("softcap", ctypes.c_float),
    ]  # fmt: skip


class Batch(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("num_rows", "num_works", "num_scored")),
        *((name, ctypes.c_void_p) for name in (
            "ids", "starts", "positions", "tables", "table_starts", "adapters", "scored", "scores",
        )),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeSettings:
    """`bits`: of weights. `kv`: what keys and values are kept in. `threads`: None for torch's number."""

    bits: Literal[8, 4] = 8
    kv: Literal["bf16", "int8"] = "bf16"
    threads: int | None = None
    march: str = "native"


class Native:
    """A backend in the exact mode that keeps weights and cache outside of torch.

    The weights are copied, so the model can be let go; `is_shrinking` lets each tensor go as soon as it is packed.
    """

    name = "native"
    is_exact = True

    def __init__(
        self, model: Model, config: EngineConfig, settings: NativeSettings = NativeSettings()
    ) -> None:
        why_not = self.serves(model.config)
        assert why_not is None, why_not
        if config.block_size % LANES:
            raise MainspringError(
                f"`block_size` is {config.block_size}; the native step keeps tokens by {LANES}. Set a multiple of it."
            )
        self.config, self._library = model.config, library(settings.march)
        self._library.mainspring_destroy.argtypes = [ctypes.c_void_p]
        for each in ("set_layer", "set_matrix", "set_norm", "set_embedding", "add_rope", "create", "step",
                     "set_factors"):  # fmt: skip
            getattr(self._library, f"mainspring_{each}").restype = ctypes.c_char_p
        self.context, self.max_step_tokens = model.config.context, config.max_step_tokens
        self._adapters: dict[str, int] = {}
        self._num_adapters = 0
        self._model = ctypes.c_void_p()
        self._create(config, settings)
        _Packing(self._call, model, settings.bits).run()

    @staticmethod
    def serves(config: ModelConfig) -> str | None:
        """Why the native step cannot run such a model; None if it can."""
        blocks = config.blocks
        reasons = [
            (not config.is_served, "it is no language model that looks back by attention"),
            (config.positions is not None or config.embedding_norm is not None, "its embedding has more parts"),
            (config.num_token_types > 0 or config.relative is not None, "it has token types or biases by distance"),
            (config.final_norm is None or any(_is_strange(norm) for norm in _norms(config)), "its norms are not RMS"),
            (any(not isinstance(block.mixer, AttentionSpec) for block in blocks), "its layers are not all attention"),
            (any(not isinstance(block.ffn, FfnSpec) for block in blocks), "it has experts"),
        ]  # fmt: skip
        for is_so, reason in reasons:
            if is_so:
                return reason
        if any(_shape_of(block) != _shape_of(blocks[0]) for block in blocks):
            return "its layers have different shapes"
        if any(block.norm_place not in ("before", "around") or block.cross for block in blocks):
            return "its norms stand behind the sums"
        if any(block.dense.kind != "glu" or block.dense.activation not in ACTIVATIONS for block in blocks):
            return f"its feed-forward parts are not gated with one of {', '.join(ACTIVATIONS)}"
        head = config.head
        if head is None or head.dense or head.norm or head.bias:
            return "its head is more than a matrix"
        return None

    def step(self, works: Sequence[Work]) -> torch.Tensor:
        lengths = [len(work.ids) for work in works]
        starts = np.cumsum([0, *lengths], dtype=np.int32)
        scored = [
            row
            for work, end in zip(works, starts[1:].tolist(), strict=True)
            for row in range(end - work.num_scored, end)
        ]
        scores_NV = torch.empty(len(scored), self.config.vocab_size)
        arrays = {
            "ids": [token_id for work in works for token_id in work.ids],
            "starts": starts,
            "positions": [work.sequence.num_computed for work in works],
            "tables": [block for work in works for block in work.sequence.blocks],
            "table_starts": np.cumsum([0, *(len(work.sequence.blocks) for work in works)]),
            "adapters": [self._adapter(work.sequence.request.adapter) for work in works],
            "scored": scored,
        }
        kept = {name: np.asarray(values, dtype=np.int32) for name, values in arrays.items()}
        batch = Batch(
            num_rows=int(starts[-1]), num_works=len(works), num_scored=len(scored), scores=scores_NV.data_ptr(),
            **{name: values.ctypes.data for name, values in kept.items()},
        )  # fmt: skip
        self._call("step", ctypes.byref(batch))
        return scores_NV

    def copy_block(self, source: int, target: int) -> None:
        self._library.mainspring_copy_block(self._model, source, target)

    def load_adapter(self, name: str, pairs: Mapping[str, LoraPair]) -> None:
        """Take the factors of an adapter, by the path of their linear; they are copied."""
        self._num_adapters += 1
        index = self._adapters[name] = self._num_adapters
        for layer in range(self.config.num_layers):
            for site, (down_RI, up_RO) in _factors(self.config, layer, pairs).items():
                (rank, inputs), outputs = down_RI.shape, up_RO.shape[1]
                self._call(
                    "set_factors",
                    index,
                    layer,
                    int(site),
                    rank,
                    inputs,
                    outputs,
                    _pointer(down_RI),
                    _pointer(up_RO),
                )

    def drop_adapter(self, name: str) -> None:
        self._library.mainspring_drop_adapter(self._model, self._adapters.pop(name))

    def close(self) -> None:
        """Let go of weights and cache; the backend cannot be used any more."""
        self._library.mainspring_destroy(self._model)
        self._model = ctypes.c_void_p()

    def _adapter(self, name: str | None) -> int:
        return NO_ADAPTER if name is None else self._adapters[name]

    def _create(self, config: EngineConfig, settings: NativeSettings) -> None:
        head = self.config.head
        assert head is not None
        sizes = Sizes(
            width=self.config.width, vocab_size=self.config.vocab_size, num_layers=self.config.num_layers,
            block_size=config.block_size, num_blocks=config.num_blocks, kv_in_bytes=settings.kv == "int8",
            threads=settings.threads or torch.get_num_threads(),
            embedding_scale=self.config.embedding_scale, softcap=head.softcap or 0.0,
        )  # fmt: skip
        said = self._library.mainspring_create(ctypes.byref(sizes), ctypes.byref(self._model))
        if said is not None:
            raise MainspringError(f"The native step cannot be set up: {said.decode()}. Give it less to keep.")

    def _call(self, name: str, *arguments: Any) -> None:
        said = getattr(self._library, f"mainspring_{name}")(self._model, *arguments)
        if said is not None:
            raise MainspringError(f"The native step failed in {name}: {said.decode()}.")


def choose(scores_NV: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The greatest score's id, (N,) int32, the lowest among equals, and log sum exp, (N,) float64, of every row."""
    count, vocab_size = scores_NV.shape
    ids_N, log_sums_N = np.empty(count, np.int32), np.empty(count, np.float64)
    library().mainspring_choose(
        ctypes.c_void_p(scores_NV.data_ptr()), count, vocab_size,
        ctypes.c_void_p(ids_N.ctypes.data), ctypes.c_void_p(log_sums_N.ctypes.data),
    )  # fmt: skip
    return ids_N, log_sums_N


class _Packing:
    """Hands a model's weights over, layer by layer."""

    def __init__(self, call: Callable[..., None], model: Model, bits: int) -> None:
        self._call, self._model, self._bits = call, model, bits
        self._ropes: dict[RopeSpec, int] = {}

    def run(self) -> None:
        config, embedding = self._model.config, self._model.embedding.weight
        self._call("set_embedding", _pointer(embedding), *embedding.shape)
        head = self._model.head
        assert head is not None
        assert config.head is not None
        self._matrix(TOP, Site.HEAD, embedding if head.out is None else head.out.weight, bits=8)
        self._norm(TOP, Place.LAST, self._model.final_norm, config.final_norm, factor=config.head.scale)
        for layer, block in enumerate(self._model.blocks):
            self._layer(layer, block)

    def _layer(self, layer: int, block: Any) -> None:
        spec = self._model.config.blocks[layer]
        attention, ffn, around = spec.attention, spec.dense, spec.norm_place == "around"
        shape = LayerShape(
            num_heads=attention.num_heads, num_kv_heads=attention.num_kv_heads, head_size=attention.head_size,
            rope=self._rope(attention), window=attention.window or 0, hidden=ffn.hidden,
            activation=ACTIVATIONS[ffn.activation], norms_around=around,
            scale=attention.head_size**-0.5 if attention.scale is None else attention.scale,
            softcap=attention.softcap or 0.0,
        )  # fmt: skip
        self._call("set_layer", layer, ctypes.byref(shape))
        mixer, glu = block.mixer, block.ffn
        self._matrix(layer, Site.QKV, *_joined(mixer.q, mixer.k, mixer.v))
        self._matrix(layer, Site.OUT, mixer.o.weight, mixer.o.bias)
        gate_up, bias = _joined(glu.gate, glu.up, width=ffn.hidden)
        self._matrix(layer, Site.GATE_UP, gate_up, bias)
        self._matrix(layer, Site.DOWN, glu.down.weight, glu.down.bias)
        for place, norm in (
            (Place.MIXER, block.mixer_norm), (Place.MIXER_OUT, block.mixer_out_norm),
            (Place.FFN, block.ffn_norm), (Place.FFN_OUT, block.ffn_out_norm),
        ):  # fmt: skip
            self._norm(layer, place, norm, spec.norm)
        self._norm(layer, Place.QUERY, mixer.q_norm, attention.head_norm)
        self._norm(layer, Place.KEY, mixer.k_norm, attention.head_norm)

    def _rope(self, attention: AttentionSpec) -> int:
        if attention.rope is None:
            return -1
        if attention.rope not in self._ropes:
            self._ropes[attention.rope] = len(self._ropes)
            frequency_k, amplitude = frequencies(attention.rope, attention.rope.size or attention.head_size)
            self._call("add_rope", _pointer(frequency_k), len(frequency_k), ctypes.c_float(amplitude))
        return self._ropes[attention.rope]

    def _matrix(
        self,
        layer: int,
        site: Site,
        weight_OI: torch.Tensor,
        bias_O: torch.Tensor | None = None,
        bits: int | None = None,
    ) -> None:
        self._call(
            "set_matrix", layer, int(site), _pointer(weight_OI), None if bias_O is None else _pointer(bias_O),
            *weight_OI.shape, bits or self._bits,
        )  # fmt: skip

    def _norm(self, layer: int, place: Place, norm: Any, spec: NormSpec | None, factor: float = 1.0) -> None:
        if norm is None or spec is None:
            return
        weight_D = (norm.weight.float() + (1.0 if spec.unit_offset else 0.0)) * factor
        self._call("set_norm", layer, int(place), _pointer(weight_D), len(weight_D), ctypes.c_float(spec.eps))


def _joined(*linears: Any, width: int = 0) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weights and biases one behind the other; with a `width` they take turns by registers (gates and the rest)."""
    join = torch.cat if not width else _taking_turns
    weight_OI = join([linear.weight.float() for linear in linears])
    return weight_OI, None if linears[0].bias is None else join([linear.bias.float() for linear in linears])


def _taking_turns(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Sixteen rows of the one, sixteen of the other, padded with zeros."""
    rows = -(-len(parts[0]) // LANES) * LANES
    padded = [torch.cat([part, part.new_zeros(rows - len(part), *part.shape[1:])]) for part in parts]
    return torch.stack([part.unflatten(0, (-1, LANES)) for part in padded], dim=1).flatten(0, 2)


_NAMES = {
    Site.QKV: ("mixer.q", "mixer.k", "mixer.v"), Site.OUT: ("mixer.o",),
    Site.GATE_UP: ("ffn.gate", "ffn.up"), Site.DOWN: ("ffn.down",),
}  # fmt: skip


def _factors(
    config: ModelConfig, layer: int, pairs: Mapping[str, LoraPair]
) -> dict[Site, tuple[torch.Tensor, torch.Tensor]]:
    """The factors beside each packed matrix: ranks of joined linears one behind the other, outputs in its order."""
    attention, ffn = config.blocks[layer].attention, config.blocks[layer].dense
    query, key = attention.num_heads * attention.head_size, attention.num_kv_heads * attention.head_size
    outputs = {
        Site.QKV: (query, key, key), Site.OUT: (config.width,), Site.GATE_UP: (ffn.hidden, ffn.hidden),
        Site.DOWN: (config.width,),
    }  # fmt: skip
    found: dict[Site, tuple[torch.Tensor, torch.Tensor]] = {}
    for site, names in _NAMES.items():
        downs, ups = [], []
        for index, name in enumerate(names):
            pair = pairs.get(f"blocks.{layer}.{name}")
            if pair is None:
                continue
            downs.append(pair.a_RI.detach().float() * pair.scale)
            parts = [torch.zeros(size, len(pair.a_RI)) for size in outputs[site]]
            parts[index] = pair.b_OR.detach().float()
            up_OR = _taking_turns(parts) if site is Site.GATE_UP else torch.cat(parts)
            padding = -len(up_OR) % BLOCK
            ups.append(torch.cat([up_OR, up_OR.new_zeros(padding, up_OR.shape[1])]).t())
        if downs:
            found[site] = torch.cat(downs), torch.cat(ups).contiguous()
    return found


def _pointer(tensor: torch.Tensor) -> "_Held":
    return _Held(tensor)


class _Held(ctypes.c_void_p):
    """A pointer to a tensor's numbers in fp32 that keeps the tensor while it is used."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor.detach().float().contiguous()
        super().__init__(self.tensor.data_ptr())


def _norms(config: ModelConfig) -> list[NormSpec]:
    heads = [block.mixer.head_norm for block in config.blocks if isinstance(block.mixer, AttentionSpec)]
    return [norm for norm in (config.final_norm, *(block.norm for block in config.blocks), *heads) if norm]


def _is_strange(norm: NormSpec) -> bool:
    return norm.kind != "rms"


def _shape_of(block: Any) -> tuple[int, ...]:
    attention, ffn = block.attention, block.dense
    return attention.num_heads, attention.num_kv_heads, attention.head_size, ffn.hidden
