"""LoRA and DoRA as peft keeps them, also beside matrices that are published as one.

Of linears that are published one behind the other the factors are too, each in its own rows and columns:

    [y_q]   [B_q        ] [A_q]
    [y_k] = [    B_k    ] [A_k] x      rank 3 R, scaled like the others: `rank_pattern` and `alpha_pattern`
    [y_v]   [        B_v] [A_v]

An adapter that peft trained there has one A, which each of them takes whole, and its own rows of B: rank R.

Shapes: I a linear's inputs, O its outputs, R rank.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mainspring.adapt import base as adapters
from mainspring.adapt import lora
from mainspring.adapt.lora import Lora, LoraPair
from mainspring.adapt.peft_names import (
    PREFIX,
    Module,
    Tensors,
    by_place,
    check_shapes,
    modules_of,
    target_modules,
)
from mainspring.config import build
from mainspring.errors import WeightsError
from mainspring.models.model import Model

A, B, LENGTH = "lora_A", "lora_B", "lora_magnitude_vector"
STARTS = (
    True,
    False,
    "gaussian",
    "eva",
    "orthogonal",
    "mica",
)  # other `init_lora_weights` change the base too


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """What an adapter's settings say, as peft's file has them and as ours."""

    folder: Path
    values: Mapping[str, Any]
    config: Lora

    def rank_and_scale(self, module: Module) -> tuple[int, float]:
        """Of one published linear; a pattern is searched for as peft does."""
        found: list[Any] = []
        for key, plain in (("rank_pattern", self.config.rank), ("alpha_pattern", self.config.alpha)):
            patterns = (self.values.get(key) or {}).items()
            found.append(
                next(
                    (value for each, value in patterns if re.match(rf"(.*\.)?({each})$", module.name)), plain
                )
            )
        rank, alpha = found
        return rank, alpha / (math.sqrt(rank) if self.config.rslora else rank)


def write(model: Model, name: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Settings and tensors of an adapter.

    Raises:
        WeightsError: factors beside a linear that is not published.

    """
    config = adapters.adapters_of(model).configs[name]
    assert isinstance(config, Lora)
    pairs = lora.pairs(model, name)
    covered = [module for module in modules_of(model) if any(path in pairs for path in module.paths)]
    lost = sorted(set(pairs) - {path for module in covered for path in module.paths})
    if lost:
        raise WeightsError(
            f"{lost[0]} is no matrix of published {model.config.family} models, so its factors would have no name in "
            "peft's file. Leave it out of `targets`."
        )
    tensors: dict[str, torch.Tensor] = {}
    for module in covered:
        for what, tensor in _joined(model, module, pairs, config).items():
            suffix = "" if what == LENGTH else ".weight"
            tensors[f"{PREFIX}{module.name}.{what}{suffix}"] = tensor.contiguous()
    shared = {
        module.name.rpartition(".")[2]: len(module.paths) for module in covered if len(module.paths) > 1
    }
    values = {
        "r": config.rank, "lora_alpha": config.alpha, "lora_dropout": config.dropout, "bias": "none",
        "use_rslora": config.rslora, "use_dora": config.dora,
        "fan_in_fan_out": any(module.is_transposed for module in covered),
        "rank_pattern": {each: number * config.rank for each, number in shared.items()},
        "alpha_pattern": {
            each: config.alpha * (math.sqrt(number) if config.rslora else number) for each, number in shared.items()
        },
        "target_modules": target_modules(model, (module.name for module in covered)),
    }  # fmt: skip
    return values, tensors


def read(model: Model, name: str, values: Mapping[str, Any], tensors: Tensors, folder: Path) -> None:
    """Put an adapter of such settings and tensors on the model, frozen and not active.

    Raises:
        WeightsError: settings that cannot be kept to here, or tensors that do not fit.

    """
    if values.get("init_lora_weights", True) not in STARTS:
        raise WeightsError(
            f"The adapter in {folder} began as '{values['init_lora_weights']}', which changes the base's weights too. "
            "Have peft convert it to a plain LoRA (`path_initial_model_for_weight_conversion`) and load that."
        )
    found = by_place(model, folder, tensors, (A, B, LENGTH), {each.name: each for each in modules_of(model)})
    config = build(Lora, {
        "rank": values["r"], "alpha": values["lora_alpha"], "dropout": values.get("lora_dropout") or 0.0,
        "rslora": bool(values.get("use_rslora")), "dora": bool(values.get("use_dora")),
    })  # fmt: skip
    file = _File(folder=folder, values=values, config=config)
    by_path: dict[str, dict[str, torch.Tensor]] = {}
    for module, factors in found.items():
        _check(model, module, factors, file)
        by_path |= _taken_apart(model, module, factors, file)
    paths = [path for path in adapters.target_paths(model, ("*",)) if path in by_path]
    config = config.model_copy(update={"targets": _targets(model, paths)})
    made = lora.attach(model, config, name, paths=paths, seed=None)
    with torch.no_grad():
        for path, pair in made.items():
            pair.a_RI.copy_(by_path[path][A])
            pair.b_OR.copy_(by_path[path][B])
            if pair.length_O is not None:
                pair.length_O.copy_(by_path[path][LENGTH])


def _joined(
    model: Model, module: Module, pairs: Mapping[str, LoraPair], config: Lora
) -> dict[str, torch.Tensor]:
    """The factors of a published linear; parts of it that the adapter leaves alone have zeros."""
    linears = adapters.linears_at(model, module.paths)
    made = [pairs.get(path) or LoraPair(linear, config, None) for path, linear in linears.items()]
    both: dict[str, torch.Tensor] = {
        A: torch.cat([pair.a_RI.detach() for pair in made]),
        B: torch.block_diag(*(pair.b_OR.detach() for pair in made)),
    }
    lengths = [pair.length_O.detach() for pair in made if pair.length_O is not None]
    return {**both, LENGTH: torch.cat(lengths)} if lengths else both


def _check(model: Model, module: Module, factors: Tensors, file: _File) -> None:
    """See that rank, scale and shapes of a published linear are ones that ours can have."""
    linears, config = adapters.linears_at(model, module.paths).values(), file.config
    rank, scale = file.rank_and_scale(module)
    if rank not in (config.rank, config.rank * len(module.paths)) or not math.isclose(scale, config.scale):
        raise WeightsError(
            f"The adapter in {file.folder} has the rank {rank} and the scale {scale:g} for {module.name}, and "
            f"{config.rank} and {config.scale:g} elsewhere (rank_pattern, alpha_pattern). Train one of the same rank "
            "everywhere."
        )
    if file.values.get("fan_in_fan_out") and not module.is_transposed:
        raise WeightsError(
            f"The adapter in {file.folder} takes {module.name} for a transposed matrix (fan_in_fan_out), which it is "
            f"not in the {model.config.family} family. Load it onto a model of the family it was trained on."
        )
    (inputs,) = {linear.in_features for linear in linears}
    outputs = sum(linear.out_features for linear in linears)
    expected: dict[str, tuple[int, ...]] = {A: (rank, inputs), B: (outputs, rank)}
    expected |= {LENGTH: (outputs,)} if config.dora else {}
    where = module.paths[0] if len(module.paths) == 1 else module.name
    check_shapes(file.folder, where, factors, expected)


def _taken_apart(
    model: Model, module: Module, factors: Tensors, file: _File
) -> dict[str, dict[str, torch.Tensor]]:
    """The factors of each part of a published linear, without parts that have zeros in place of an A."""
    rank = file.config.rank
    rows = [linear.out_features for linear in adapters.linears_at(model, module.paths).values()]
    is_own = len(rows) > 1 and len(factors[A]) == len(rows) * rank
    pieces = {what: tensor.split(rows) for what, tensor in factors.items() if what != A}
    found: dict[str, dict[str, torch.Tensor]] = {}
    for at, path in enumerate(module.paths):
        part = {what: each[at] for what, each in pieces.items()} | {A: factors[A]}
        if is_own:
            own = slice(at * rank, (at + 1) * rank)
            part |= {A: factors[A][own], B: part[B][:, own]}
            if pieces[B][at].count_nonzero() != part[B].count_nonzero():
                raise WeightsError(
                    f"The adapter in {file.folder} mixes the parts of {module.name} at the rank {len(factors[A])}, and "
                    f"here they have {rank} each. Train one of the same rank everywhere."
                )
        if part[A].any() or not is_own:
            found[path] = part
    return found


def _targets(model: Model, paths: list[str]) -> tuple[str, ...]:
    """Names of linears or, where others have them too, whole paths."""
    names = tuple(sorted({path.rpartition(".")[2] for path in paths}))
    return names if adapters.target_paths(model, names) == paths else tuple(paths)
