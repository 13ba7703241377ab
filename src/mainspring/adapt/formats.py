"""How each kind of adapter lies in files: peft's names of settings and tensors, and back.

Shapes: R rank, I a linear's inputs, O its outputs, P virtual tokens, L layers, G key-value heads, K head size.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from mainspring.adapt import base as adapters
from mainspring.adapt import ia3, lora
from mainspring.adapt.base import Adapter
from mainspring.adapt.bottleneck import Bottleneck
from mainspring.adapt.ia3 import Ia3, Scale
from mainspring.adapt.lora import Lora
from mainspring.adapt.prefix import KeysAndValues, Prefix, size_of
from mainspring.adapt.prompt import Prompt, Vectors
from mainspring.config import build
from mainspring.errors import WeightsError
from mainspring.models.families.base import names_of
from mainspring.models.model import Model

PREFIX = "base_model.model."
PROMPT_KEY = "prompt_embeddings"
Tensors = Mapping[str, torch.Tensor]
Written = tuple[dict[str, Any], dict[str, torch.Tensor]]


class Format:
    """One `peft_type`: `required` settings must be there, `refused` ones must not be set."""

    peft_type: ClassVar[str]
    config: ClassVar[type[Adapter]]
    required: ClassVar[tuple[str, ...]] = ()
    refused: ClassVar[tuple[str, ...]] = ()

    def write(self, model: Model, name: str) -> Written:
        """Settings and tensors of an adapter."""
        raise NotImplementedError

    def read(self, model: Model, name: str, config: dict[str, Any], tensors: Tensors, folder: Path) -> None:
        """Put an adapter of such settings and tensors on the model, frozen and not active."""
        raise NotImplementedError


class LoraFormat(Format):
    """lora_A, lora_B and, of DoRA, lora_magnitude_vector. QLoRA's factors are saved as those of LoRA."""

    peft_type, config = "LORA", Lora
    required: ClassVar = ("r", "lora_alpha")
    refused: ClassVar = ("fan_in_fan_out", "rank_pattern", "alpha_pattern", "modules_to_save")

    def write(self, model: Model, name: str) -> Written:
        config = adapters.adapters_of(model).configs[name]
        assert isinstance(config, Lora)
        found = lora.pairs(model, name)
        published = _published(model, found)
        tensors: dict[str, torch.Tensor] = {}
        for path, pair in found.items():
            tensors[f"{PREFIX}{published[path]}.lora_A.weight"] = pair.a_RI.detach().contiguous()
            tensors[f"{PREFIX}{published[path]}.lora_B.weight"] = pair.b_OR.detach().contiguous()
            if pair.length_O is not None:
                tensors[f"{PREFIX}{published[path]}.lora_magnitude_vector"] = (
                    pair.length_O.detach().contiguous()
                )
        values = {
            "r": config.rank, "lora_alpha": config.alpha, "lora_dropout": config.dropout, "bias": "none",
            "use_rslora": config.rslora, "use_dora": config.dora,
            "target_modules": _modules(model, found),
        }  # fmt: skip
        return values, tensors

    def read(self, model: Model, name: str, config: dict[str, Any], tensors: Tensors, folder: Path) -> None:
        by_path = _by_path(model, folder, tensors, ("lora_A", "lora_B", "lora_magnitude_vector"))
        values = {
            "rank": config["r"], "alpha": config["lora_alpha"], "targets": sorted(_names(by_path)),
            "rslora": bool(config.get("use_rslora")), "dora": bool(config.get("use_dora")),
            "dropout": config.get("lora_dropout") or 0.0,
        }  # fmt: skip
        fitting = build(Lora, values)
        linears = adapters.linears_at(model, list(by_path))
        for path, found in by_path.items():
            inputs, outputs = linears[path].in_features, linears[path].out_features
            expected = {"lora_A": (fitting.rank, inputs), "lora_B": (outputs, fitting.rank)}
            expected |= {"lora_magnitude_vector": (outputs,)} if fitting.dora else {}
            _check(folder, path, found, expected)
        made = lora.attach(model, fitting, name, paths=list(by_path), seed=None)
        with torch.no_grad():
            for path, pair in made.items():
                pair.a_RI.copy_(by_path[path]["lora_A"])
                pair.b_OR.copy_(by_path[path]["lora_B"])
                if pair.length_O is not None:
                    pair.length_O.copy_(by_path[path]["lora_magnitude_vector"])


class Ia3Format(Format):
    """ia3_l of shape (O, 1) on outputs, (1, I) on inputs."""

    peft_type, config = "IA3", Ia3
    required: ClassVar = ("target_modules",)
    refused: ClassVar = ("fan_in_fan_out", "modules_to_save")

    def write(self, model: Model, name: str) -> Written:
        found = _parts(model, name, Scale)
        published = _published(model, found)
        tensors = {
            f"{PREFIX}{published[path]}.ia3_l": scale.scale_X.detach().unsqueeze(0 if scale.is_input else 1)
            for path, scale in found.items()
        }
        inputs = [path for path, scale in found.items() if scale.is_input]
        return {
            "target_modules": _modules(model, found),
            "feedforward_modules": _modules(model, inputs),
        }, tensors

    def read(self, model: Model, name: str, config: dict[str, Any], tensors: Tensors, folder: Path) -> None:
        by_path = _by_path(model, folder, tensors, ("ia3_l",))
        is_input = {path: found["ia3_l"].shape[0] == 1 for path, found in by_path.items()}
        for path, linear in adapters.linears_at(model, list(by_path)).items():
            shape = (1, linear.in_features) if is_input[path] else (linear.out_features, 1)
            _check(folder, path, by_path[path], {"ia3_l": shape})
        inputs = {path for path in by_path if is_input[path]}
        sides = {"inputs": sorted(_names(inputs)), "outputs": sorted(_names(set(by_path) - inputs))}
        made = ia3.put_on(model, build(Ia3, sides), name, is_input)
        with torch.no_grad():
            for path, scale in made.items():
                scale.scale_X.copy_(by_path[path]["ia3_l"].flatten())


class PromptFormat(Format):
    """prompt_embeddings of shape (P, D)."""

    peft_type, config = "PROMPT_TUNING", Prompt
    required: ClassVar = ("num_virtual_tokens",)

    def write(self, model: Model, name: str) -> Written:
        (vectors,) = _parts(model, name, Vectors).values()
        settings = {"token_dim": model.config.width, "prompt_tuning_init": "RANDOM"}
        return settings | _virtual(model, vectors.vector_PD), {PROMPT_KEY: vectors.vector_PD.detach()}

    def read(self, model: Model, name: str, config: dict[str, Any], tensors: Tensors, folder: Path) -> None:
        number = config["num_virtual_tokens"]
        _check(folder, "the embedding", tensors, {PROMPT_KEY: (number, model.config.width)})
        build(Prompt, {"num_virtual": number}).attach(model, name, seed=0)
        (vectors,) = _parts(model, name, Vectors).values()
        with torch.no_grad():
            vectors.vector_PD.copy_(tensors[PROMPT_KEY])


class PrefixFormat(Format):
    """prompt_embeddings of shape (P, L * 2 * G * K): of every layer keys, then values; a net is folded into them."""

    peft_type, config = "PREFIX_TUNING", Prefix
    required: ClassVar = ("num_virtual_tokens",)

    def write(self, model: Model, name: str) -> Written:
        (part,) = _parts(model, name, KeysAndValues).values()
        num_heads, head_size = part.shape[2:]
        settings = {
            "num_attention_heads": num_heads, "token_dim": num_heads * head_size, "prefix_projection": False,
            "encoder_hidden_size": None,
        }  # fmt: skip
        table_PX = part.table().detach()
        return settings | _virtual(model, table_PX), {PROMPT_KEY: table_PX}

    def read(self, model: Model, name: str, config: dict[str, Any], tensors: Tensors, folder: Path) -> None:
        number, (num_heads, head_size) = config["num_virtual_tokens"], size_of(model)
        size = 2 * model.config.num_layers * num_heads * head_size
        _check(folder, "the layers", tensors, {PROMPT_KEY: (number, size)})
        build(Prefix, {"num_virtual": number}).attach(model, name, seed=0)
        (part,) = _parts(model, name, KeysAndValues).values()
        with torch.no_grad():
            part.table().copy_(tensors[PROMPT_KEY])


class BottleneckFormat(Format):
    """Our own: down and up of every part, by our path of what they stand behind."""

    peft_type, config = "BOTTLENECK", Bottleneck
    required: ClassVar = ("width", "where", "activation")

    def write(self, model: Model, name: str) -> Written:
        config = adapters.adapters_of(model).configs[name]
        assert isinstance(config, Bottleneck)
        settings = {
            "width": config.width_in(model.config.width),
            "where": config.where,
            "activation": config.activation,
        }
        tensors = {
            f"{path}.{key}": tensor.contiguous()
            for path, part in adapters.parts(model, name).items()
            for key, tensor in part.state_dict().items()
        }
        return settings, tensors

    def read(self, model: Model, name: str, config: dict[str, Any], tensors: Tensors, folder: Path) -> None:
        build(Bottleneck, {key: config[key] for key in self.required}).attach(model, name, seed=0)
        found = adapters.parts(model, name)
        expected = {
            f"{path}.{key}": tuple(each.shape)
            for path, part in found.items()
            for key, each in part.state_dict().items()
        }
        try:
            _check(folder, "the layers", tensors, expected)
        except WeightsError:
            adapters.remove(model, name)
            raise
        for path, part in found.items():
            part.load_state_dict({key: tensors[f"{path}.{key}"] for key in part.state_dict()})


FORMATS: Mapping[str, Format] = {
    each.peft_type: each
    for each in (LoraFormat(), Ia3Format(), PrefixFormat(), PromptFormat(), BottleneckFormat())
}


def published_names(model: Model) -> dict[str, str]:
    """Our path of a linear -> its published name."""
    table = names_of(model.config).table(model.config)
    return {ours.removesuffix(".weight"): name.removesuffix(".weight") for ours, name in table.items()}


def _parts(model: Model, name: str, kind: type[Any]) -> dict[str, Any]:
    return {path: part for path, part in adapters.parts(model, name).items() if isinstance(part, kind)}


def _virtual(model: Model, table: torch.Tensor) -> dict[str, Any]:
    return {
        "num_virtual_tokens": len(table),
        "num_layers": model.config.num_layers,
        "num_transformer_submodules": 1,
    }


def _published(model: Model, paths: Iterable[str]) -> dict[str, str]:
    """Published names of the linears at these paths, all of which must have one of their own."""
    everything = published_names(model)
    for path in paths:
        if path not in everything:
            raise WeightsError(
                f"{path} is published as a part of a larger matrix in {model.config.family} models, so peft's "
                "format has no name for its adapter. Train one of other linears."
            )
    return everything


def _modules(model: Model, paths: Collection[str]) -> list[str]:
    """What peft is told to look for: names that end so, or whole names where others end so too (BERT's `dense`)."""
    published, names = published_names(model), set[str]()
    for path in paths:
        last = published[path].rpartition(".")[2]
        alike = {each for each, name in published.items() if name.rpartition(".")[2] == last}
        names.add(last if alike <= set(paths) else published[path])
    return sorted(names)


def _names(paths: Any) -> set[str]:
    return {path.rpartition(".")[2] for path in paths}


def _by_path(
    model: Model, folder: Path, tensors: Tensors, known: tuple[str, ...]
) -> dict[str, dict[str, torch.Tensor]]:
    """Tensors by our path of their linear, in the model's order."""
    paths = {published: path for path, published in published_names(model).items()}
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        module, _, what = key.removeprefix(PREFIX).removesuffix(".weight").rpartition(".")
        if module not in paths or what not in known:
            raise WeightsError(
                f"The adapter in {folder} has the tensor {key}, for which this {model.config.family} model "
                "has no place. Load it onto a model of the family it was trained on."
            )
        found.setdefault(paths[module], {})[what] = tensor
    if not found:
        raise WeightsError(f"The adapter in {folder} has no tensors. Train it again.")
    return {path: found[path] for path in paths.values() if path in found}


def _check(folder: Path, where: str, found: Tensors, expected: Mapping[str, tuple[int, ...]]) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    if shapes != expected:
        raise WeightsError(
            f"The adapter in {folder} does not fit {where}: it has {shapes}, expected {dict(expected)}. "
            "Load it onto the model it was trained on."
        )
