"""Models of one architecture, merged from folder to folder: no more than one tensor of each is in memory."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from mainspring.adapt.merge.base import Method, merge_tensors
from mainspring.errors import ConfigError, WeightsError
from mainspring.models.config import ModelConfig
from mainspring.models.convert import DTYPES, Dtype
from mainspring.models.families.base import names_of
from mainspring.models.load import prefix_in, read_config, read_json
from mainspring.models.published import copy_beside
from mainspring.models.weights import safetensors
from mainspring.models.weights.base import Weights
from mainspring.models.weights.safetensors import SafetensorsFolder
from mainspring.tokenizer.base import Tokenizer


def merge_models(
    parents: Mapping[str, Path],
    weights: Sequence[float],
    base: Path | None,
    method: Method,
    folder: Path,
    *,
    dtype: Dtype = "float32",
) -> None:
    """Write the merged model in the published layout, with the tokenizer of the first parent.

    Args:
        parents: two or more folders in the published layout, by the name that errors call them.
        weights: of the parents, in their order.
        base: the model that they were trained from; None for a method that needs none.
        method: how they become one.
        folder: where the result goes.
        dtype: of its weights; all are merged in float32.

    Raises:
        ConfigError: a method that cannot merge these.
        WeightsError: parents of different architectures, tokenizers or tensors.

    """
    method.check(weights)
    _check_base(method, base)
    folders = dict(parents) | ({"the base": base} if base is not None else {})
    config = _same_config(folders)
    _check_tokenizers(folders)
    opened = {name: SafetensorsFolder(each) for name, each in folders.items()}
    shapes = _same_shapes({name: shapes_of(config, each) for name, each in opened.items()})

    def read(name: str) -> torch.Tensor:
        tensors = [each.read(name).to(torch.float32) for each in opened.values()]
        start = tensors.pop() if base is not None else None
        return merge_tensors(method, tensors, weights, start, name)

    write_model(folder, next(iter(parents.values())), shapes, read, dtype)


def write_model(
    folder: Path,
    like: Path,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], torch.Tensor],
    dtype: Dtype,
) -> None:
    """Write a model that is like another one but for its weights, which are read one by one."""
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.write(folder / safetensors.SINGLE, shapes, read, DTYPES[dtype])
    config = {**read_json(like / "config.json"), "torch_dtype": dtype}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    copy_beside(like, folder)


def shapes_of(config: ModelConfig, weights: Weights) -> dict[str, tuple[int, ...]]:
    """The published tensors that such a model is made of, without any others in the file."""
    names = names_of(config)
    entries = names.entries(config, prefix=prefix_in(names, weights))
    return {
        each.published: weights.shapes[each.published] for each in entries if each.published in weights.shapes
    }


def _same_config(folders: Mapping[str, Path]) -> ModelConfig:
    configs = {name: read_config(folder) for name, folder in folders.items()}
    first, expected = next(iter(configs.items()))
    for name, config in configs.items():
        if config != expected:
            found, wanted = config.model_dump(), expected.model_dump()
            keys = ", ".join(key for key in wanted if found.get(key) != wanted[key])
            raise WeightsError(
                f"{first} and {name} are built differently (their {keys} are not the same), so their weights mean "
                "different things. Merge models of one architecture that were trained from one start."
            )
    return expected


def _check_tokenizers(folders: Mapping[str, Path]) -> None:
    prints = {
        name: Tokenizer.load(folder).fingerprint
        for name, folder in folders.items()
        if (folder / "tokenizer.json").exists()
    }
    for name, found in prints.items():
        first = next(iter(prints))
        if found != prints[first]:
            raise WeightsError(
                f"{first} has the tokenizer {prints[first][:16]}, {name} has {found[:16]}: their ids mean "
                "different text. Merge models of one tokenizer and template."
            )


def _same_shapes(shapes: Mapping[str, Mapping[str, tuple[int, ...]]]) -> Mapping[str, tuple[int, ...]]:
    first, expected = next(iter(shapes.items()))
    for name, found in shapes.items():
        differing = sorted(set(found.items()) ^ set(expected.items()))
        if differing:
            raise WeightsError(
                f"{first} and {name} do not hold the same tensors: {differing[0][0]} differs. Write both anew with "
                "`mainspring models convert`."
            )
    return expected


def _check_base(method: Method, base: Path | None) -> None:
    if method.needs_base and base is None:
        raise ConfigError(
            "This method merges what the parents have learnt on top of a base, and `base` is not given. Set it to "
            "the model that they were trained from."
        )
    if base is not None and not method.needs_base:
        raise ConfigError("This method takes the parents' weights as they are; leave `base` out.")
