"""Hand a model's weights to the native step: joined, and one layer at a time.

Shapes: I inputs and O outputs of a linear, R rank of an adapter's factors.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch.nn import functional

from mainspring.adapt.base import plain_at
from mainspring.adapt.lora import LoraPair
from mainspring.infer.native.structs import ACTIVATIONS, BLOCK, LANES, LayerShape, Library, Place, Site
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
    "mixer_norm": (Site.QKV, Place.BEFORE), "mixer.q_norm": (Site.QKV, Place.QUERY),
    "mixer.k_norm": (Site.QKV, Place.KEY), "mixer_out_norm": (Site.OUT, Place.AFTER),
    "ffn_norm": (Site.GATE_UP, Place.BEFORE), "ffn_out_norm": (Site.DOWN, Place.AFTER),
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


def needed(source: Source, name: str) -> torch.Tensor:
    """A weight that every model of its kind has, in fp32."""
    weight = source(name)
    assert weight is not None, f"the model has no {name}; serves() looks at its config"
    return weight.detach().float()


class Packing:
    """Gives one model to the library; adapters come to it later."""

    def __init__(self, library: Library, config: ModelConfig, bits: int) -> None:
        self._library, self._config, self._bits = library, config, bits
        self._ropes: dict[RopeSpec | None, int] = {}

    def set_weights(self, source: Source) -> None:
        self._source = source
        config, embedding = self._config, self._need("embedding.weight")
        assert config.head is not None
        self._library.call("set_embedding", embedding, *embedding.shape)
        head = embedding if config.head.tied else self._need("head.out.weight")
        self._library.call("set_matrix", 0, Site.HEAD, head, None, *head.shape, HEAD_BITS)
        self._norm((0, Site.HEAD, Place.BEFORE), "final_norm", config.final_norm, config.head.scale)
        for layer in range(config.num_layers):
            self._layer(layer)
        del self._source  # what it holds open would count as memory of ours

    def _layer(self, layer: int) -> None:
        spec = self._config.blocks[layer]
        attention = spec.attention
        shape = LayerShape(
            num_heads=attention.num_heads, num_kv_heads=attention.num_kv_heads, head_size=attention.head_size,
            rope=self._rope(attention), window=attention.window or 0,
            activation=ACTIVATIONS[spec.dense.activation], softcap=attention.softcap or 0.0,
            scale=attention.head_size**-0.5 if attention.scale is None else attention.scale,
        )  # fmt: skip
        self._library.call("set_layer", layer, shape)
        for site, names in LINEARS.items():
            paths = [f"blocks.{layer}.{name}" for name in names]
            join = _join_of(site)
            biases = [bias.float() for path in paths if (bias := self._source(f"{path}.bias")) is not None]
            bias_O = join(biases) if biases else None
            weight_OI = join([self._need(f"{path}.weight") for path in paths])
            self._library.call("set_matrix", layer, site, weight_OI, bias_O, *weight_OI.shape, self._bits)
        for name, (site, place) in NORMS.items():
            norm = attention.head_norm if place in (Place.QUERY, Place.KEY) else spec.norm
            self._norm((layer, site, place), f"blocks.{layer}.{name}", norm)

    def _norm(
        self, where: tuple[int, Site, Place], name: str, spec: NormSpec | None, factor: float = 1.0
    ) -> None:
        weight_D = self._source(f"{name}.weight")
        if weight_D is None or spec is None:
            return
        full_D = (weight_D.float() + (1.0 if spec.unit_offset else 0.0)) * factor
        self._library.call("set_norm", *where, full_D, len(full_D), float(spec.eps))

    def _rope(self, attention: AttentionSpec) -> int:
        """Which rope a layer turns by; a layer without turns by one that has no pairs."""
        spec = attention.rope
        if spec not in self._ropes:
            self._ropes[spec] = len(self._ropes)
            frequency_k, amplitude = torch.empty(0), 1.0
            if spec is not None:
                frequency_k, amplitude = frequencies(spec, spec.size or attention.head_size)
            self._library.call("add_rope", frequency_k, len(frequency_k), float(amplitude))
        return self._ropes[spec]

    def _need(self, name: str) -> torch.Tensor:
        return needed(self._source, name)

    def set_adapter(self, index: int, pairs: Mapping[str, LoraPair]) -> None:
        """Give an adapter's factors: ranks of joined linears one behind the other."""
        for layer in range(self._config.num_layers):
            for site, names in LINEARS.items():
                beside = [pairs.get(f"blocks.{layer}.{name}") for name in names]
                found = [pair for pair in beside if pair is not None]
                if not found:
                    continue
                sizes = self._outputs_of(site)
                down_RI = torch.cat([pair.a_RI.detach().float() * pair.scale for pair in found])
                ups = [
                    torch.empty(size, 0) if pair is None else pair.b_OR.detach().float()
                    for size, pair in zip(sizes, beside, strict=True)
                ]
                up_OR = _join_of(site)(list(torch.block_diag(*ups).split(sizes)))
                up_RO = functional.pad(up_OR.t(), (0, -len(up_OR) % BLOCK))
                self._library.call("set_factors", layer, site, index, len(down_RI), down_RI, up_RO)

    def _outputs_of(self, site: Site) -> tuple[int, ...]:
        attention, hidden = self._config.blocks[0].attention, self._config.blocks[0].dense.hidden
        keys = attention.num_kv_heads * attention.head_size
        return {
            Site.QKV: (attention.num_heads * attention.head_size, keys, keys),
            Site.GATE_UP: (hidden, hidden),
        }.get(site, (self._config.width,))


def _join_of(site: Site) -> Callable[[list[torch.Tensor]], torch.Tensor]:
    return _by_turns if site is Site.GATE_UP else torch.cat


def _by_turns(parts: list[torch.Tensor]) -> torch.Tensor:
    """Sixteen rows of the gate, sixteen of the other, and so on: a block's first register gates its second."""
    rows = -(-len(parts[0]) // LANES) * LANES
    padded = [torch.cat([part, part.new_zeros(rows - len(part), *part.shape[1:])]) for part in parts]
    return torch.stack([part.unflatten(0, (-1, LANES)) for part in padded], dim=1).flatten(0, 2)
