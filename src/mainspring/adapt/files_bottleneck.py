"""Bottleneck adapters in files: peft has no such kind, so the names are ours and only Mainspring loads them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mainspring.adapt.bottleneck import BottleneckConfig, bottlenecks
from mainspring.config import build
from mainspring.errors import WeightsError
from mainspring.models.model import Model

PEFT_TYPE = "BOTTLENECK"
SETTINGS = ("behind", "width", "activation")
NAMES = {
    "down_WD": "down.weight", "down_bias_W": "down.bias", "up_DW": "up.weight", "up_bias_D": "up.bias"
}  # fmt: skip


def write(
    model: Model, config: BottleneckConfig, parts: Mapping[str, nn.Module]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What stands in adapter_config.json, and the tensors by our path of the part they stand behind."""
    values = {
        "behind": list(config.behind),
        "width": config.width_in(model.config.width),
        "activation": config.activation,
    }
    tensors = {
        f"{path}.{NAMES[name]}": weight.detach()
        for path, part in parts.items()
        for name, weight in part.named_parameters()
    }
    return values, tensors


def read(
    model: Model, values: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], folder: Path
) -> tuple[BottleneckConfig, dict[str, nn.Module]]:
    """Settings and nets of a saved adapter.

    Raises:
        WeightsError: tensors that are not those of such an adapter of this model.

    """
    config = build(BottleneckConfig, {key: values[key] for key in SETTINGS if key in values})
    parts = bottlenecks(model, config, seed=None)
    own = {
        f"{path}.{NAMES[name]}": weight
        for path, part in parts.items()
        for name, weight in part.named_parameters()
    }
    wrong = sorted(
        name
        for name in own.keys() | tensors.keys()
        if name not in own or name not in tensors or own[name].shape != tensors[name].shape
    )
    if wrong:
        raise WeightsError(
            f"The bottleneck adapter in {folder} does not fit this {model.config.family} model: {wrong[0]} and "
            f"{len(wrong) - 1} others are missing, unknown or of another shape. Load it onto the model it was "
            "trained on."
        )
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(tensors[name])
    return config, parts
