"""A folder in the published layout becomes a Model, in a moment: its tensors are mapped, not copied."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mainspring.errors import WeightsError
from mainspring.models.config import ModelConfig
from mainspring.models.families.base import Entry, Names, family, names_of
from mainspring.models.model import Model
from mainspring.models.weights.base import Weights, check_names
from mainspring.models.weights.safetensors import SafetensorsFolder

POOLING = "pooling"  # the key of config.json, which we alone write
POOLING_FILE = "1_Pooling/config.json"
POOLING_MODES = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "last": "pooling_mode_lasttoken",
}


def load(folder: Path) -> Model:
    """Read config.json and the safetensors beside it; fp32, in evaluation mode.

    The parameters are private mappings of the file: what a trainer writes into them stays in memory.

    Raises:
        WeightsError: an unknown family, a file that is missing or damaged, tensors other than the config's.

    """
    config = read_config(folder)
    with torch.device("meta"):
        model = Model(config)
    state = read_state(model, names_of(config), SafetensorsFolder(folder), folder)
    model.load_state_dict(state, assign=True)
    return model.eval()


def read_config(folder: Path) -> ModelConfig:
    """What the folder's files say a model is made of."""
    published = read_json(folder / "config.json")
    config = understand(published, folder)
    said = published.get(POOLING)
    pooling = _pooling(folder) or (said if said in POOLING_MODES else None)
    return config if pooling is None else config.model_copy(update={"pooling": pooling})


def understand(published: Mapping[str, Any], source: Path) -> ModelConfig:
    """A published config.json, read by the family that it names."""
    kind = family(published.get("model_type", ""))
    try:
        return kind.config(published)
    except KeyError as error:
        raise WeightsError(f"{source} tells no {error}, which its family needs.") from None


def _pooling(folder: Path) -> str | None:
    """How sentence-transformers' files make one vector of many, None without such files."""
    path = folder / POOLING_FILE
    if not path.exists():
        return None
    said = read_json(path)
    pooling = next((mode for mode, key in POOLING_MODES.items() if said.get(key)), None)
    if pooling is None:
        raise WeightsError(f"{path} pools in a way that is not read; read are {', '.join(POOLING_MODES)}.")
    return pooling


def read_json(path: Path) -> dict[str, Any]:
    """Keys and values of one of a model's files."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(
            f"{path} is missing; a model's folder holds config.json, model.safetensors and tokenizer.json. "
            "Fetch the model again."
        ) from None
    except ValueError as error:
        raise WeightsError(f"{path} is not JSON: {error}. Fetch the model again.") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path} holds a {type(values).__name__}; it must hold keys and values.")
    return values


def read_state(model: Model, names: Names, weights: Weights, source: Path) -> dict[str, torch.Tensor]:
    """Tensors under our names, every one checked: none missing, none left over, each of the right shape."""
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    entries = names.entries(model.config, prefix=prefix_in(names, weights))
    _check(expected_shapes(model, entries), weights.shapes, names, source)
    state: dict[str, torch.Tensor] = {}
    for entry in entries:
        tensor = weights.read(entry.published).to(torch.float32)
        tensor = tensor.t().contiguous() if entry.is_transposed else tensor
        tensor = tensor.squeeze(0) if entry.is_row else tensor
        rows = [shapes[ours][0] for ours in entry.ours]
        state.update(zip(entry.ours, tensor.split(rows) if len(rows) > 1 else [tensor], strict=True))
    return {name: state[name] for name in shapes}


def expected_shapes(model: Model, entries: Sequence[Entry]) -> dict[str, tuple[int, ...]]:
    """The shapes that the published tensors of such a model must have."""
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return {entry.published: _published_shape(entry, shapes) for entry in entries}


def prefix_in(names: Names, weights: Weights) -> str:
    """How the names of the body begin in this file: some with a head leave the prefix out, some without have it."""
    has_prefix = any(name.startswith(names.prefix) for name in weights.shapes)
    return names.prefix if has_prefix else ""


def _published_shape(entry: Entry, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    rows = sum(shapes[ours][0] for ours in entry.ours) if shapes[entry.ours[0]] else 0
    shape = (rows, *shapes[entry.ours[0]][1:]) if shapes[entry.ours[0]] else ()
    if entry.is_row:
        return (1, *shape)
    return shape[::-1] if entry.is_transposed else shape


def _check(
    wanted: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
    names: Names,
    source: Path,
) -> None:
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted and not names.is_unused(name)]
    wrong = [
        f"{name} is {found[name]}, config.json asks for {shape}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    check_names(source, "its config.json", missing, extra, wrong)
