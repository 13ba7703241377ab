"""Adapters as peft writes them: adapter_config.json and adapter_model.safetensors.

A tensor is named after the published name of the weight it changes, so peft loads our files and we load its.
The file's metadata carry the fingerprint of the base that the adapter was trained on; peft's have none. Bottleneck
adapters, which peft does not have, are kept in the same two files. formats.py says how each kind is written.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mainspring.adapt import base as adapters
from mainspring.adapt.formats import FORMATS, Format
from mainspring.adapt.peft_names import task_type
from mainspring.errors import ConfigError, WeightsError
from mainspring.models.model import Model

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE_KEY = "mainspring.base_fingerprint"


def check(model: Model, name: str) -> None:
    """See that an adapter can be written, before it has learnt anything.

    Raises:
        ConfigError: its kind, its settings or this model have no place in the files.

    """
    try:
        _format(model, name).write(model, name)
    except WeightsError as error:
        raise ConfigError(str(error)) from error


def save(model: Model, name: str, folder: Path) -> None:
    """Write an adapter for the base that it sits on."""
    kind = _format(model, name)
    values, tensors = kind.write(model, name)
    folder.mkdir(parents=True, exist_ok=True)
    # One entry: safetensors writes several in an order that changes from run to run, and so the hash.
    whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
    save_file(whole, folder / WEIGHTS, metadata={BASE_KEY: adapters.base_fingerprint(model)})
    common = {
        "peft_type": kind.peft_type, "task_type": task_type(model), "inference_mode": True,
        "base_model_name_or_path": None,
    }  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(common | values, indent=2) + "\n", encoding="utf-8")


def load(model: Model, folder: Path, name: str) -> None:
    """Put a saved adapter on the model, frozen and not active.

    Raises:
        WeightsError: an adapter of another base (both fingerprints are shown), a kind of adapter that is not known,
            tensors that do not fit, a damaged file.

    """
    config, kind = _read_config(folder)
    tensors, metadata = _read_tensors(folder / WEIGHTS)
    trained_on, base = metadata.get(BASE_KEY), adapters.base_fingerprint(model)
    if trained_on is not None and trained_on != base:
        raise WeightsError(
            f"The adapter in {folder} was trained on the base {trained_on[:16]}, but this model is "
            f"{base[:16]}. Load it onto the model it was trained on, or train one for this model."
        )
    refused = [key for key in kind.refused if config.get(key)]
    if config.get("bias", "none") != "none":
        refused.append("bias")
    if refused:
        raise WeightsError(
            f"The adapter in {folder} uses {', '.join(refused)}, which would be left out here. "
            "Train it without, or merge it into its base and load that."
        )
    kind.read(model, name, config, tensors, folder)


def _format(model: Model, name: str) -> Format:
    config = adapters.adapters_of(model).configs[name]
    return next(each for each in FORMATS.values() if isinstance(config, each.config))


def _read_config(folder: Path) -> tuple[dict[str, Any], Format]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{folder / CONFIG} cannot be read: {error}. Give a folder that peft wrote."
        ) from error
    kind = FORMATS.get(config.get("peft_type", "")) if isinstance(config, dict) else None
    if kind is None or not set(kind.required) <= set(config):
        raise WeightsError(
            f"{folder / CONFIG} does not describe an adapter that is known. Give one whose `peft_type` is "
            f"{', '.join(FORMATS)}."
        )
    return config, kind


def _read_tensors(file: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, str]]:
    try:
        with safe_open(file, framework="pt") as stream:
            return {key: stream.get_tensor(key) for key in stream.keys()}, stream.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{file} cannot be read: {error}. Restore the file or train the adapter again."
        ) from error
