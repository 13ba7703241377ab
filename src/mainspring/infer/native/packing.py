"""Hand a model's weights to the native step: joined, and one layer at a time.

Shapes: I inputs and O outputs of a linear, R rank of an adapter's factors.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from mainspring.adapt.base import plain_at
from mainspring.adapt.lora import LoraPair
from mainspring.infer.native.structs import (
    ACTIVATIONS,
    BLOCK,
    LANES,
    NO_ROPE,
    TOP,
    LayerShape,
    Library,
    Place,
    Site,
)
from mainspring.models.config import AttentionSpec, ModelConfig, NormSpec, RopeSpec
from mainspring.models.families.base import names_of
from mainspring.models.load import prefix_in
from mainspring.models.model import Model
from mainspring.models.parts.rope import frequencies
from mainspring.models.weights.safetensors import SafetensorsFolder

LINEARS = {
    Site.QKV: ("mixer.q", "mixer.k", "mixer.v"), Site.OUT: ("mixer.o",),
    Site.GATE_UP: ("ffn.gate", "ffn.up"), Site.DOWN: ("ffn.down",),
}  # fmt: skip
NORMS = {
    Place.MIXER: "mixer_norm", Place.MIXER_OUT: "mixer_out_norm", Place.FFN: "ffn_norm",
    Place.FFN_OUT: "ffn_out_norm", Place.QUERY: "mixer.q_norm", Place.KEY: "mixer.k_norm",
}  # fmt: skip
HEAD_BITS = 8
READS_TO_REOPEN = 16

Source = Callable[[str], torch.Tensor | None]
"""A weight by our name, such as `blocks.0.mixer.q.weight`; None where the model has none."""


def of_model(model: Model) -> Source:
    """The weights of a model in memory, whatever adapters lie over them."""

    def read(name: str) -> torch.Tensor | None:
        path, _, kind = name.rpartition(".")
        try:
            return getattr(plain_at(model, path), kind, None)
        except AttributeError:
            return None

    return read


class FolderSource:
    """The weights of a folder in the published layout, of which little is in memory at a time.

    No module is built for it: that alone would take longer than packing, and a sixth of the memory.
    """

    def __init__(self, folder: Path, config: ModelConfig) -> None:
        self._folder, self._num_reads = folder, 0
        self._files = SafetensorsFolder(folder)
        names = names_of(config)
        prefix = prefix_in(names, self._files)
        self._published = {ours: prefix + theirs for ours, theirs in names.body.items()} | dict(
            names.heads["lm"]
        )

    @property
    def is_whole(self) -> bool:
        """Whether every tensor is published alone, so that they can be read one by one."""
        return all(isinstance(ours, str) for ours in self._published)

    def __call__(self, name: str) -> torch.Tensor | None:
        layer = re.match(r"blocks\.(\d+)\.", name)
        key = name if layer is None else "blocks.{i}." + name[layer.end() :]
        if key not in self._published:
            return None
        self._num_reads += 1
        if self._num_reads % READS_TO_REOPEN == 0:
            self._files = SafetensorsFolder(
                self._folder
            )  # pages that were read count as ours while it is open
        return self._files.read(self._published[key].format(i=layer and layer[1]))


class Packing:
    """Gives one model to the library; adapters come to it later."""

    def __init__(self, library: Library, config: ModelConfig, bits: int) -> None:
        self._library, self._config, self._bits = library, config, bits
        self._ropes: dict[RopeSpec, int] = {}

    def set_weights(self, source: Source) -> None:
        self._source = source
        config, embedding = self._config, self._need("embedding.weight")
        assert config.head is not None
        self._library.call("set_embedding", embedding, *embedding.shape)
        head = embedding if config.head.tied else self._need("head.out.weight")
        self._matrix(TOP, Site.HEAD, head, None, HEAD_BITS)
        self._norm(TOP, Place.LAST, "final_norm", config.final_norm, config.head.scale)
        for layer in range(config.num_layers):
            self._layer(layer)
        del self._source  # what it holds open would count as memory of ours

    def _layer(self, layer: int) -> None:
        spec = self._config.blocks[layer]
        attention = spec.attention
        shape = LayerShape(
            num_heads=attention.num_heads, num_kv_heads=attention.num_kv_heads, head_size=attention.head_size,
            rope=self._rope(attention), window=attention.window or 0,
            activation=ACTIVATIONS[spec.dense.activation], norms_around=spec.norm_place == "around",
            scale=attention.head_size**-0.5 if attention.scale is None else attention.scale,
            softcap=attention.softcap or 0.0,
        )  # fmt: skip
        self._library.call("set_layer", layer, shape)
        for site, names in LINEARS.items():
            paths = [f"blocks.{layer}.{name}" for name in names]
            join = _join_of(site)
            biases = [bias.float() for path in paths if (bias := self._source(f"{path}.bias")) is not None]
            weight_OI = join([self._need(f"{path}.weight") for path in paths])
            self._matrix(layer, site, weight_OI, join(biases) if biases else None, self._bits)
        for place, name in NORMS.items():
            is_head = place in (Place.QUERY, Place.KEY)
            self._norm(layer, place, f"blocks.{layer}.{name}", attention.head_norm if is_head else spec.norm)

    def _matrix(
        self, layer: int, site: Site, weight_OI: torch.Tensor, bias_O: torch.Tensor | None, bits: int
    ) -> None:
        self._library.call("set_matrix", layer, int(site), weight_OI, bias_O, *weight_OI.shape, bits)

    def _norm(self, layer: int, place: Place, name: str, spec: NormSpec | None, factor: float = 1.0) -> None:
        weight_D = self._source(f"{name}.weight")
        if weight_D is None or spec is None:
            return
        full_D = (weight_D.float() + (1.0 if spec.unit_offset else 0.0)) * factor
        self._library.call("set_norm", layer, int(place), full_D, len(full_D), float(spec.eps))

    def _rope(self, attention: AttentionSpec) -> int:
        spec = attention.rope
        if spec is None:
            return NO_ROPE
        if spec not in self._ropes:
            self._ropes[spec] = len(self._ropes)
            frequency_k, amplitude = frequencies(spec, spec.size or attention.head_size)
            self._library.call("add_rope", frequency_k, len(frequency_k), float(amplitude))
        return self._ropes[spec]

    def _need(self, name: str) -> torch.Tensor:
        weight = self._source(name)
        assert weight is not None, f"the model has no {name}; serves() looks at its config"
        return weight.detach().float()

    def set_adapter(self, index: int, pairs: Mapping[str, LoraPair]) -> None:
        """Give an adapter's factors: ranks of joined linears one behind the other."""
        for layer in range(self._config.num_layers):
            for site, names in LINEARS.items():
                paths = [f"blocks.{layer}.{name}" for name in names]
                found = [(part, pairs[path]) for part, path in enumerate(paths) if path in pairs]
                if not found:
                    continue
                sizes = self._outputs_of(site)
                down_RI = torch.cat([pair.a_RI.detach().float() * pair.scale for _, pair in found])
                up_RO = torch.cat(
                    [_up(site, sizes, part, pair.b_OR.detach().float()) for part, pair in found]
                )
                self._library.call("set_factors", index, layer, int(site), len(down_RI), down_RI, up_RO)

    def _outputs_of(self, site: Site) -> tuple[int, ...]:
        attention, hidden = self._config.blocks[0].attention, self._config.blocks[0].dense.hidden
        keys = attention.num_kv_heads * attention.head_size
        return {
            Site.QKV: (attention.num_heads * attention.head_size, keys, keys),
            Site.GATE_UP: (hidden, hidden),
        }.get(site, (self._config.width,))


def _up(site: Site, sizes: tuple[int, ...], part: int, b_OR: torch.Tensor) -> torch.Tensor:
    """One linear's factor among zeros for the others it is joined with, (R, O padded)."""
    parts = [torch.zeros(size, b_OR.shape[1]) for size in sizes]
    parts[part] = b_OR
    up_OR = _join_of(site)(parts)
    return torch.cat([up_OR, up_OR.new_zeros(-len(up_OR) % BLOCK, up_OR.shape[1])]).t()


def _join_of(site: Site) -> Callable[[list[torch.Tensor]], torch.Tensor]:
    return _by_turns if site is Site.GATE_UP else torch.cat


def _by_turns(parts: list[torch.Tensor]) -> torch.Tensor:
    """Sixteen rows of the gate, sixteen of the other, and so on: a block's first register gates its second."""
    rows = -(-len(parts[0]) // LANES) * LANES
    padded = [torch.cat([part, part.new_zeros(rows - len(part), *part.shape[1:])]) for part in parts]
    return torch.stack([part.unflatten(0, (-1, LANES)) for part in padded], dim=1).flatten(0, 2)
