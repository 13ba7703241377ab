"""The names that peft's files have: what a model's linears are called where they are published.

A family may publish several of our linears as one, whose rows are theirs one behind the other: queries, keys and
values of Phi-3 and GPT-2.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from mainspring.adapt import base as adapters
from mainspring.adapt.quantized import QuantLinear
from mainspring.errors import WeightsError
from mainspring.models.families.base import names_of
from mainspring.models.model import Model

PREFIX = "base_model.model."
WEIGHT = ".weight"
Tensors = Mapping[str, torch.Tensor]
P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A published linear and our paths of its rows; `is_transposed` where its weight lies as (in, out)."""

    name: str
    paths: tuple[str, ...]
    is_transposed: bool


def modules_of(model: Model) -> list[Module]:
    """All published linears, in the order of the family's file."""
    found: list[Module] = []
    for entry in names_of(model.config).entries(model.config):
        paths = tuple(ours.removesuffix(WEIGHT) for ours in entry.ours if ours.endswith(WEIGHT))
        if paths and all(_is_linear(model, path) for path in paths):
            name = entry.published.removesuffix(WEIGHT)
            found.append(Module(name=name, paths=paths, is_transposed=entry.is_transposed))
    return found


def target_modules(model: Model, covered: Iterable[str]) -> list[str]:
    """What peft is told to look for: names that end so, or whole names where others end so too (BERT's `dense`)."""
    names = set(covered)
    others = {module.name.rpartition(".")[2] for module in modules_of(model) if module.name not in names}
    return sorted({name if (last := name.rpartition(".")[2]) in others else last for name in names})


def task_type(model: Model) -> str | None:
    """Which of peft's wrappers the published model needs; None for the plain one, which takes any model."""
    if model.config.head is None or model.config.head.kind != "lm":
        return None
    return "CAUSAL_LM" if model.config.encoder is None else "SEQ_2_SEQ_LM"


def by_place(
    model: Model, folder: Path, tensors: Tensors, known: tuple[str, ...], places: Mapping[str, P]
) -> dict[P, dict[str, torch.Tensor]]:
    """Tensors by the place of their published name and what they are there, in the order of `places`.

    Raises:
        WeightsError: a tensor without a place, or none at all.

    """
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, what = key.removeprefix(PREFIX).removesuffix(WEIGHT).rpartition(".")
        if name not in places or what not in known:
            raise WeightsError(
                f"The adapter in {folder} has the tensor {key}, for which this {model.config.family} model "
                "has no place. Load it onto a model of the family it was trained on."
            )
        found.setdefault(name, {})[what] = tensor
    if not found:
        raise WeightsError(f"The adapter in {folder} has no tensors. Train it again.")
    return {place: found[name] for name, place in places.items() if name in found}


def check_shapes(folder: Path, where: str, found: Tensors, expected: Mapping[str, tuple[int, ...]]) -> None:
    """See that tensors have the names and shapes they must have."""
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    if shapes != expected:
        raise WeightsError(
            f"The adapter in {folder} does not fit {where}: it has {shapes}, expected {dict(expected)}. "
            "Load it onto the model it was trained on."
        )


def _is_linear(model: Model, path: str) -> bool:
    try:
        return isinstance(adapters.plain_at(model, path), nn.Linear | QuantLinear)
    except AttributeError:  # published, but no module of its own
        return False
