"""A GGUF file's tensors under their published names, as a published folder of the same model would hold them.

    published name --the family's table--> all that the config asks for
                   --the layout's `renamed`, GGUF's own table--> stored tensor, maybe one part of a stack
                   --the layout's `undo`--> published values

Every tensor is checked before the first is read: none missing, none left over, each of the right shape.
"""

import re
from dataclasses import dataclass
from typing import Any

import gguf
import torch

from mainspring.models.config import ModelConfig
from mainspring.models.families.base import Entry, names_of
from mainspring.models.load import expected_shapes, understand
from mainspring.models.model import Model
from mainspring.models.weights.base import check_names
from mainspring.models.weights.gguf.architectures.base import Layout, architecture
from mainspring.models.weights.gguf.file import GgufFile
from mainspring.models.weights.gguf.metadata import Metadata

EXPERT = re.compile(r"\.experts\.(\d+)\.")
SUFFIXES = (".weight", ".bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The stored tensors that a published one is made of; `part` is its number where they hold one an expert."""

    stored: tuple[str, ...]
    part: int | None
    is_transposed: bool


class GgufWeights:
    """Satisfies weights.base.Weights; `published` is the config.json and `config` what it means here."""

    def __init__(self, file: GgufFile) -> None:
        self._file, self._said = file, Metadata(file)
        kind = architecture(file.fields.get("general.architecture"), file.path)
        self._layout: Layout = kind.LAYOUT
        self.published: dict[str, Any] = kind.config(self._said)
        self._said.check_understood()
        self.config = understand(self.published, file.path)
        entries = names_of(self.config).entries(self.config)
        sources = self._sources(entries)
        self._check(sources, entries)
        order = {name: place for place, name in enumerate(file.shapes)}
        in_order = sorted(sources, key=lambda name: (order[sources[name].stored[0]], sources[name].part or 0))
        self._sources_of = {name: sources[name] for name in in_order}
        self.shapes = {name: self._shape(source) for name, source in self._sources_of.items()}

    def read(self, name: str) -> torch.Tensor:
        """One tensor in fp32 as it was published."""
        source = self._sources_of[name]
        tensors = [self._file.read(stored, source.part) for stored in source.stored]
        return self._undone(source, tensors).contiguous()

    def _sources(self, entries: list[Entry]) -> dict[str, Source]:
        arch = next(each for each, name in gguf.MODEL_ARCH_NAMES.items() if name == self._said.architecture)
        encoder = self.config.encoder.num_layers if self.config.encoder else 0
        table = gguf.get_tensor_name_map(arch, max(self.config.num_layers, encoder))
        return {entry.published: self._source(entry, table) for entry in entries}

    def _source(self, entry: Entry, table: gguf.TensorNameMap) -> Source:
        expert = EXPERT.search(entry.published)
        asked = EXPERT.sub(".experts.", entry.published)
        for theirs, known in self._layout.renamed:
            asked = asked.replace(theirs, known)
        stored = table.get_name(asked, try_suffixes=SUFFIXES)
        assert stored is not None, f"GGUF's table of '{self._said.architecture}' has no name for '{asked}'"
        first, key = stored.removesuffix(_key(stored)), _key(stored)
        joined = (key,) if stored in self._file.shapes else self._layout.joined.get(key, (key,))
        return Source(
            stored=tuple(first + each for each in joined),
            part=int(expert[1]) if expert else None,
            is_transposed=entry.is_transposed,
        )

    def _undone(self, source: Source, tensors: list[torch.Tensor]) -> torch.Tensor:
        undo = self._layout.undo.get(_key(source.stored[0]))
        if undo is not None:
            return undo(self._said, *tensors)
        return tensors[0].t() if source.is_transposed else tensors[0]

    def _shape(self, source: Source) -> tuple[int, ...]:
        """The shape that a source will have, () for tensors that cannot be turned back."""
        drop = 0 if source.part is None else 1
        stored = [torch.empty(self._file.shapes[name][drop:], device="meta") for name in source.stored]
        try:
            return tuple(self._undone(source, stored).shape)
        except (RuntimeError, ValueError, IndexError, ZeroDivisionError):
            return ()

    def _check(self, sources: dict[str, Source], entries: list[Entry]) -> None:
        found = self._file.shapes
        wanted = {stored for source in sources.values() for stored in source.stored}
        missing = [stored for stored in sorted(wanted) if stored not in found]
        extra = [name for name in found if name not in wanted and _key(name) not in self._layout.unused]
        expected = _shapes_of(self.config, entries)
        wrong = []
        for name, source in sources.items():
            if all(stored in found for stored in source.stored):
                shape = self._shape(source)
                if shape != expected[name] or not self._has_part(source):
                    stored = ", ".join(f"{each} is {found[each]}" for each in source.stored)
                    wrong.append(f"{stored}, the metadata ask for {expected[name]} of {name}")
        check_names(self._file.path, "the metadata", missing, extra, wrong)

    def _has_part(self, source: Source) -> bool:
        shapes = [self._file.shapes[name] for name in source.stored]
        return source.part is None or all(source.part < shape[0] for shape in shapes)


def _key(stored: str) -> str:
    """What follows the layer in a stored tensor's name."""
    return re.sub(r"^.*\bblk\.\d+\.", "", stored)


def _shapes_of(config: ModelConfig, entries: list[Entry]) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = Model(config)
    return expected_shapes(model, entries)
