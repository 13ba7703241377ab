"""LoRA adapters of one base, merged.

A sum of products is the product of the concatenated factors: sum_i w_i s_i B_i A_i = [w_1 s_1 B_1 ...] [A_1; ...],
so a method that just adds gives an adapter again, exactly, with the sum of the ranks. What the others make of the
products has no small factors; it is added to the base's weights, and the result is a model.

Shapes: I a linear's inputs, O its outputs, R rank.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from mainspring.adapt import lora
from mainspring.adapt.base import target_paths
from mainspring.adapt.lora import LoraPair
from mainspring.adapt.merge.base import Method
from mainspring.adapt.merge.models import shapes_of, write_model
from mainspring.errors import ConfigError
from mainspring.models.convert import Dtype
from mainspring.models.families.base import names_of
from mainspring.models.load import prefix_in
from mainspring.models.model import Model
from mainspring.models.weights.safetensors import SafetensorsFolder


def add_concatenated(model: Model, adapters: Sequence[str], factors: Sequence[float], name: str) -> None:
    """Put the adapter on the model whose product is the sum of theirs, each times its factor; not yet active."""
    parents = [_plain_pairs(model, each) for each in adapters]
    ranks = [len(next(iter(parent.values())).a_RI) for parent in parents]
    targets = tuple(sorted({path.rpartition(".")[2] for parent in parents for path in parent}))
    config = lora.Lora(rank=sum(ranks), alpha=float(sum(ranks)), targets=targets)
    paths = [path for path in target_paths(model, targets) if any(path in each for each in parents)]
    made = lora.attach(model, config, name, paths=paths, seed=None)
    with torch.no_grad():
        for path, pair in made.items():
            start = 0
            for parent, rank, factor in zip(parents, ranks, factors, strict=True):
                rows = slice(start, start := start + rank)
                if path in parent:  # else the factors stay 0
                    pair.a_RI[rows] = parent[path].a_RI
                    pair.b_OR[:, rows] = parent[path].b_OR * (factor * parent[path].scale)


def write_merged(
    model: Model,
    base: Path,
    adapters: Sequence[str],
    weights: Sequence[float],
    method: Method,
    *,
    folder: Path,
    dtype: Dtype = "float32",
) -> None:
    """Write the model that is the base plus what the method makes of the adapters' products.

    Args:
        model: the base with the adapters on it.
        base: the folder that the model was loaded from.
        adapters: their names.
        weights: of the adapters, in their order.
        method: how they become one.
        folder: where the result goes.
        dtype: of its weights; all are merged in float32.

    """
    method.check(weights)
    parents = [_plain_pairs(model, each) for each in adapters]
    opened, names = SafetensorsFolder(base), names_of(model.config)
    entries = names.entries(model.config, prefix=prefix_in(names, opened))
    joined = [entry for entry in entries if len(entry.ours) > 1]
    for path in (each.removesuffix(".weight") for entry in joined for each in entry.ours):
        if any(path in parent for parent in parents):
            raise ConfigError(
                f"{path} is published as a part of a larger matrix in {model.config.family} models, where the merged "
                "product would have no place. Merge the adapters by `linear` or `task`, which give an adapter."
            )
    changed = {
        entry.published: (entry.ours[0].removesuffix(".weight"), entry.is_transposed)
        for entry in entries
        if any(entry.ours[0].removesuffix(".weight") in each for each in parents)
    }

    def read(name: str) -> torch.Tensor:
        weight = opened.read(name).to(torch.float32)
        if name not in changed:
            return weight
        path, is_transposed = changed[name]
        merged_OI = method.combine(_products(parents, path), weights, path)
        return weight + (merged_OI.t() if is_transposed else merged_OI)

    write_model(folder, base, shapes_of(model.config, opened), read, dtype)


def _plain_pairs(model: Model, name: str) -> dict[str, LoraPair]:
    """The factors of an adapter whose product depends on nothing else."""
    pairs = lora.pairs(model, name)
    if any(pair.length_O is not None for pair in pairs.values()):
        raise ConfigError(
            f"'{name}' learnt the lengths of rows (dora), so what it adds is no product of factors. Merge it into its "
            "base, and merge the models."
        )
    return pairs


@torch.no_grad()
def _products(parents: Sequence[Mapping[str, LoraPair]], path: str) -> list[torch.Tensor]:
    """What each adapter adds to a linear's weights, (O, I); 0 from those that do not cover it."""
    found = [parent.get(path) for parent in parents]
    some = next(pair for pair in found if pair is not None)
    zero = torch.zeros(some.b_OR.shape[0], some.a_RI.shape[1])
    return [zero if pair is None else (pair.b_OR @ pair.a_RI).float() * pair.scale for pair in found]
