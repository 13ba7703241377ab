"""IA3's vectors by published names, as peft keeps them: (O, 1) on outputs, (1, I) on inputs.

Several linears that are published as the rows of one matrix (GPT-2's queries, keys and values) have one vector,
one behind the other; those that are not scaled have ones in it.
"""

from collections.abc import Mapping
from pathlib import Path

import torch

from mainspring.adapt import base as adapters
from mainspring.adapt.ia3 import Scale
from mainspring.errors import WeightsError
from mainspring.models.families.base import names_of
from mainspring.models.model import Model


def paths_by_name(model: Model) -> dict[str, list[str]]:
    """Published name of every matrix -> our paths of the linears that are its rows, in order."""
    return {
        entry.published.removesuffix(".weight"): [ours.removesuffix(".weight") for ours in entry.ours]
        for entry in names_of(model.config).entries(model.config)
        if entry.published.endswith(".weight")
    }


def written(model: Model, scales: Mapping[str, Scale]) -> dict[str, torch.Tensor]:
    """The vectors of an adapter by published name.

    Raises:
        WeightsError: the inputs of one of several linears are scaled, where peft can only scale those of all, or a
            linear is that is not published.

    """
    found: dict[str, torch.Tensor] = {}
    lost = sorted(set(scales) - {path for paths in paths_by_name(model).values() for path in paths})
    if lost:
        raise WeightsError(
            f"{lost[0]} is no matrix of published {model.config.family} models, so its scale would have no name in "
            "peft's file. Leave it out of `outputs` and `inputs`."
        )
    for name, paths in paths_by_name(model).items():
        own = [scales.get(path) for path in paths]
        if not any(own):
            continue
        if len(own) > 1 and any(scale is not None and scale.is_input for scale in own):
            raise WeightsError(
                f"{paths[0]} is published as a part of {name}, whose inputs peft can only scale as a whole. Scale "
                "its outputs instead, or the inputs of another linear."
            )
        sizes = [each.out_features for each in adapters.linears_at(model, paths).values()]
        vectors = [
            torch.ones(size) if scale is None else scale.scale_X.detach()
            for scale, size in zip(own, sizes, strict=True)
        ]
        is_input = own[0] is not None and own[0].is_input
        found[name] = torch.cat(vectors).unsqueeze(0 if is_input else 1)
    return found


def read(
    model: Model, vectors: Mapping[str, torch.Tensor], folder: Path
) -> dict[str, tuple[torch.Tensor, bool]]:
    """Our path of a linear -> its vector, and whether it scales inputs; what is not scaled is left out.

    Raises:
        WeightsError: a matrix that the model lacks, or a vector of another size.

    """
    by_name, found = paths_by_name(model), {}
    for name, vector in vectors.items():
        linears = adapters.linears_at(model, by_name.get(name, []))
        is_input = vector.shape[0] == 1 and len(linears) == 1
        sizes = [each.in_features if is_input else each.out_features for each in linears.values()]
        expected = (1, *sizes) if is_input else (sum(sizes), 1)
        if not linears or tuple(vector.shape) != expected:
            raise WeightsError(
                f"The adapter in {folder} has a vector of shape {tuple(vector.shape)} for {name}; this "
                f"{model.config.family} model takes {expected if linears else 'none'} there. Load it onto the model "
                "it was trained on."
            )
        parts = dict(zip(linears, vector.flatten().split(sizes), strict=True))
        scaled = {path: part for path, part in parts.items() if len(parts) == 1 or bool((part != 1).any())}
        found |= {path: (part, is_input) for path, part in (scaled or parts).items()}
    return found
