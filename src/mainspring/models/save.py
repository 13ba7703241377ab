"""A Model becomes files in the published layout, which others read too."""

import json
from pathlib import Path

import torch

from mainspring.models.families.base import family, names_of
from mainspring.models.load import POOLING
from mainspring.models.model import Model
from mainspring.models.weights import safetensors


def save(model: Model, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
    """Write config.json and model.safetensors; the tokenizer writes its own files beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = family(model.config.family)
    state = model.state_dict()
    entries = {entry.published: entry for entry in names_of(model.config).entries(model.config)}

    def read(published: str) -> torch.Tensor:
        entry = entries[published]
        tensors = [state[ours] for ours in entry.ours]
        tensor = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
        tensor = tensor.unsqueeze(0) if entry.is_row else tensor
        return tensor.t() if entry.is_transposed else tensor

    shapes = {published: tuple(read(published).shape) for published in entries}
    safetensors.write(folder / safetensors.SINGLE, shapes, read, dtype)
    config = {**kind.published(model.config), "torch_dtype": str(dtype).removeprefix("torch.")}
    config |= {} if model.config.pooling is None else {POOLING: model.config.pooling}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
