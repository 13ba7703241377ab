"""IA3 as peft writes it: a linear's vector is `ia3_l`, (out, 1) where it scales outputs, (1, in) for inputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mainspring.adapt.ia3 import Ia3Config, Scale, vectors
from mainspring.adapt.published import PREFIX, names_for, published_paths
from mainspring.config import build
from mainspring.errors import WeightsError
from mainspring.models.model import Model

PEFT_TYPE = "IA3"
ENDING = ".ia3_l"


def write(
    model: Model, config: Ia3Config, parts: Mapping[str, nn.Module]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What stands in adapter_config.json, and the tensors.

    Raises:
        WeightsError: a linear that is published as a part of another, so that peft knows no vector for it.

    """
    published = published_paths(model, list(parts))
    scales = {path: part for path, part in parts.items() if isinstance(part, Scale)}
    tensors = {
        f"{PREFIX}{published[path]}{ENDING}": part.scale_X.detach().unsqueeze(0 if part.of_inputs else 1)
        for path, part in scales.items()
    }
    values = {
        "target_modules": names_for(model, list(scales)),
        "feedforward_modules": names_for(model, [path for path, part in scales.items() if part.of_inputs]),
        "fan_in_fan_out": False,
    }
    return values, tensors


def read(
    model: Model, values: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], folder: Path
) -> tuple[Ia3Config, dict[str, nn.Module]]:
    """Settings and vectors of a saved adapter.

    Raises:
        WeightsError: a tensor that is no vector of this model's linears.

    """
    paths = {name: path for path, name in published_paths(model).items()}
    found = {
        paths.get(key.removeprefix(PREFIX).removesuffix(ENDING), key): each for key, each in tensors.items()
    }
    unknown = sorted(set(found) - set(paths.values()))
    if unknown or not found:
        raise WeightsError(
            f"The IA3 adapter in {folder} has {unknown[0] if unknown else 'no tensors'}, for which this "
            f"{model.config.family} model has no place. Load it onto a model of the family it was trained on."
        )
    of_inputs = {path.rpartition(".")[2] for path, each in found.items() if each.shape[0] == 1}
    outputs = {path.rpartition(".")[2] for path, each in found.items() if each.shape[0] != 1}
    config = build(Ia3Config, {"outputs": sorted(outputs), "inputs": sorted(of_inputs)})
    parts = vectors(model, config, list(found))
    for path, part in parts.items():
        assert isinstance(part, Scale)
        expected = part.scale_X.unsqueeze(0 if part.of_inputs else 1)
        if found[path].shape != expected.shape:
            raise WeightsError(
                f"The IA3 adapter in {folder} does not fit {path}: it has {tuple(found[path].shape)}, expected "
                f"{tuple(expected.shape)}. Load it onto the model it was trained on."
            )
        with torch.no_grad():
            expected.copy_(found[path])
    return config, parts
