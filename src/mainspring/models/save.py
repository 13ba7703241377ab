"""A Model becomes files in the published layout, which others read too."""

import json
from pathlib import Path

from mainspring.models.families.base import family
from mainspring.models.model import Model
from mainspring.models.weights import safetensors


def save(model: Model, folder: Path) -> None:
    """Write config.json and model.safetensors (fp32); the tokenizer writes its own files beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = family(model.config.family)
    state = model.state_dict()
    ours = {published: name for name, published in kind.NAMES.table(model.config).items()}
    shapes = {published: tuple(state[name].shape) for published, name in ours.items()}
    safetensors.write(folder / safetensors.SINGLE, shapes, lambda published: state[ours[published]])
    config = {**kind.published(model.config), "torch_dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
