"""Adapters as peft writes them: adapter_config.json and adapter_model.safetensors.

A tensor is named after the published name of the weight it changes, so peft loads our files and we load its.
The file's metadata carry the fingerprint of the base that the adapter was trained on; peft's have none.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mainspring.adapt import lora
from mainspring.config import build
from mainspring.errors import WeightsError
from mainspring.models.families.base import names_of
from mainspring.models.model import Model

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE_KEY = "mainspring.base_fingerprint"
PREFIX = "base_model.model."
REFUSED = ("use_dora", "use_rslora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "modules_to_save")


def save(model: Model, name: str, folder: Path) -> None:
    """Write an adapter for the base that it sits on."""
    found, config = lora.pairs(model, name), lora.adapters_of(model).configs[name]
    published = _published_names(model)
    tensors: dict[str, torch.Tensor] = {}
    for path, pair in found.items():
        tensors[f"{PREFIX}{published[path]}.lora_A.weight"] = pair.a_RI.detach().contiguous()
        tensors[f"{PREFIX}{published[path]}.lora_B.weight"] = pair.b_OR.detach().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    # One entry: safetensors writes several in an order that changes from run to run, and so the hash.
    save_file(tensors, folder / WEIGHTS, metadata={BASE_KEY: lora.base_fingerprint(model)})
    values = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "inference_mode": True,
        "base_model_name_or_path": None,
        "r": config.rank, "lora_alpha": config.alpha, "lora_dropout": 0.0, "bias": "none",
        "target_modules": sorted({published[path].rpartition(".")[2] for path in found}),
    }  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def load(model: Model, folder: Path, name: str) -> None:
    """Put a saved adapter on the model, frozen and not active.

    Raises:
        WeightsError: an adapter of another base (both fingerprints are shown), a kind of adapter that LoRA is
            not, tensors that do not fit, a damaged file.

    """
    config = _read_config(folder)
    tensors, metadata = _read_tensors(folder / WEIGHTS)
    trained_on, base = metadata.get(BASE_KEY), lora.base_fingerprint(model)
    if trained_on is not None and trained_on != base:
        raise WeightsError(
            f"The adapter in {folder} was trained on the base {trained_on[:16]}, but this model is "
            f"{base[:16]}. Load it onto the model it was trained on, or train one for this model."
        )
    by_path = _by_path(model, folder, tensors)
    targets = tuple(sorted({path.rpartition(".")[2] for path in by_path}))
    values = {"rank": config["r"], "alpha": config["lora_alpha"], "targets": targets}
    fitting = build(lora.LoraConfig, values)
    _check_shapes(model, folder, by_path, fitting.rank)
    made = lora.attach(model, fitting, name, paths=list(by_path), seed=None)
    with torch.no_grad():
        for path, pair in made.items():
            pair.a_RI.copy_(by_path[path]["lora_A"])
            pair.b_OR.copy_(by_path[path]["lora_B"])


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{folder / CONFIG} cannot be read: {error}. Give a folder that peft wrote."
        ) from error
    if (
        not isinstance(config, dict)
        or config.get("peft_type") != "LORA"
        or not {"r", "lora_alpha"} <= set(config)
    ):
        raise WeightsError(
            f"{folder / CONFIG} does not describe a LoRA adapter. Give one of `peft_type` LORA."
        )
    refused = [key for key in REFUSED if config.get(key)]
    if config.get("bias", "none") != "none":
        refused.append("bias")
    if refused:
        raise WeightsError(
            f"The adapter in {folder} uses {', '.join(refused)}, which would be left out here. "
            "Train it without, or merge it into its base and load that."
        )
    return config


def _read_tensors(file: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, str]]:
    try:
        with safe_open(file, framework="pt") as stream:
            return {key: stream.get_tensor(key) for key in stream.keys()}, stream.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{file} cannot be read: {error}. Restore the file or train the adapter again."
        ) from error


def _by_path(
    model: Model, folder: Path, tensors: Mapping[str, torch.Tensor]
) -> dict[str, dict[str, torch.Tensor]]:
    """Both factors by our path of the linear, in the model's order."""
    paths = {published: path for path, published in _published_names(model).items()}
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        module, _, factor = key.removeprefix(PREFIX).removesuffix(".weight").rpartition(".")
        if module not in paths or factor not in ("lora_A", "lora_B"):
            raise WeightsError(
                f"The adapter in {folder} has the tensor {key}, for which this {model.config.family} model "
                "has no place. Load it onto a model of the family it was trained on."
            )
        found.setdefault(paths[module], {})[factor] = tensor
    if not found:
        raise WeightsError(f"The adapter in {folder} has no tensors. Train it again.")
    return {path: found[path] for path in paths.values() if path in found}


def _check_shapes(
    model: Model, folder: Path, by_path: Mapping[str, Mapping[str, torch.Tensor]], rank: int
) -> None:
    linears = lora.linears_at(model, list(by_path))
    for path, factors in by_path.items():
        expected = {"lora_A": (rank, linears[path].in_features), "lora_B": (linears[path].out_features, rank)}
        shapes = {factor: tuple(tensor.shape) for factor, tensor in factors.items()}
        if shapes != expected:
            raise WeightsError(
                f"The adapter in {folder} does not fit {path}: it has {shapes}, expected {expected}. "
                "Load it onto the model it was trained on."
            )


def _published_names(model: Model) -> dict[str, str]:
    """Our path of a linear -> its published name."""
    table = names_of(model.config).table(model.config)
    return {ours.removesuffix(".weight"): name.removesuffix(".weight") for ours, name in table.items()}
