"""What an architecture's file says, and the list of those there are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch

from mainspring.errors import WeightsError
from mainspring.models.weights.gguf.metadata import Metadata

# GGUF's name of an architecture -> its module here.
ARCHITECTURES = {
    "llama": "llama",
    "gpt2": "gpt2",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3moe",
    "deepseek2": "deepseek2",
    "phi3": "phi3",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "mpt": "mpt",
    "mamba2": "mamba2",
    "jamba": "jamba",
    "qwen3next": "qwen3next",
    "bert": "bert",
    "modern-bert": "modern_bert",
    "t5": "t5",
}

Undo = Callable[..., torch.Tensor]
"""(metadata, stored tensor, ...) -> the published tensor; made of torch's operations, to give shapes as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the stored tensors differ from the published ones.

    What follows the layer in a tensor's name is its key: `attn_q.weight`.

    Args:
        undo: stored tensor -> how its values become the published ones again.
        joined: the key that GGUF's table knows -> those of the tensors that stand for it where it is not in
            the file; the `undo` of the first takes them all.
        renamed: pairs of texts in published names; the second is what GGUF's own table of names knows.
        unused: stored tensors that no forward pass here needs, or that became part of the config.

    """

    undo: Mapping[str, Undo] = field(default_factory=dict)
    joined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    renamed: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()


class Architecture(Protocol):
    """A module of this folder."""

    LAYOUT: Layout

    def config(self, said: Metadata) -> dict[str, Any]:
        """The config.json that the metadata tells of."""
        ...


def architecture(name: str | None, path: Path) -> Architecture:
    """The module of an architecture.

    Raises:
        WeightsError: an unknown one; the nearest known one is named.

    """
    if name not in ARCHITECTURES:
        near = get_close_matches(str(name), ARCHITECTURES, n=1)
        hint = f"the nearest that is read is '{near[0]}'; " if near else ""
        raise WeightsError(
            f"{path} has the architecture '{name}'; {hint}read are {', '.join(ARCHITECTURES)}."
        )
    module = f"mainspring.models.weights.gguf.architectures.{ARCHITECTURES[name]}"
    return import_module(module)  # type: ignore[return-value]
