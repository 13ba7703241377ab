"""How each kind of adapter lies in files: peft's names of settings and tensors, and back.

Shapes: R rank, I a linear's inputs, O its outputs, P virtual tokens, L layers, G key-value heads, K head size.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from mainspring.adapt import base as adapters
from mainspring.adapt import lora
from mainspring.adapt.base import Adapter
from mainspring.adapt.bottleneck import Bottleneck
from mainspring.adapt.ia3 import Ia3, Scale
from mainspring.adapt.lora import Lora
from mainspring.adapt.virtual import KeysAndValues, Prefix, Prompt, Vectors
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
        found, published = lora.pairs(model, name), published_names(model)
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
            "target_modules": _modules(published[path] for path in found),
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
        published, found = published_names(model), _parts(model, name, Scale)
        tensors = {
            f"{PREFIX}{published[path]}.ia3_l": scale.scale_X.detach()[None, :]
            if scale.is_input
            else scale.scale_X.detach()[:, None]
            for path, scale in found.items()
        }
        values = {
            "target_modules": _modules(published[path] for path in found),
            "feedforward_modules": _modules(
                published[path] for path, scale in found.items() if scale.is_input
            ),
        }
        return values, {key: tensor.contiguous() for key, tensor in tensors.items()}

    def read(self, model: Model, name: str, config: dict[str, Any], tensors: Tensors, folder: Path) -> None:
        by_path = _by_path(model, folder, tensors, ("ia3_l",))
        inputs = {path for path, found in by_path.items() if found["ia3_l"].shape[0] == 1}
        sides = {"inputs": sorted(_names(inputs)), "outputs": sorted(_names(set(by_path) - inputs))}
        linears = adapters.linears_at(model, list(by_path))
        for path, found in by_path.items():
            linear = linears[path]
            shape = (1, linear.in_features) if path in inputs else (linear.out_features, 1)
            _check(folder, path, found, {"ia3_l": shape})
        build(Ia3, sides).attach(model, name, seed=0)
        with torch.no_grad():
            for path, scale in _parts(model, name, Scale).items():
                scale.scale_X.copy_(by_path[path]["ia3_l"].flatten())


class PromptFormat(Format):
    """prompt_embeddings of shape (P, D)."""

    peft_type, config = "PROMPT_TUNING", Prompt
    required: ClassVar = ("num_virtual_tokens",)

    def write(self, model: Model, name: str) -> Written:
        (vectors,) = _parts(model, name, Vectors).values()
        return _virtual(model, vectors.num_virtual), {PROMPT_KEY: vectors.vector_PD.detach().contiguous()}

    def read(self, model: Model, name: str, config: dict[str, Any], tensors: Tensors, folder: Path) -> None:
        number = config["num_virtual_tokens"]
        _check(folder, "the embedding", tensors, {PROMPT_KEY: (number, model.config.width)})
        build(Prompt, {"num_virtual": number}).attach(model, name, seed=0)
        (vectors,) = _parts(model, name, Vectors).values()
        with torch.no_grad():
            vectors.vector_PD.copy_(tensors[PROMPT_KEY])


class PrefixFormat(Format):
    """prompt_embeddings of shape (P, L * 2 * G * K): of every layer keys, then values."""

    peft_type, config = "PREFIX_TUNING", Prefix
    required: ClassVar = ("num_virtual_tokens",)

    def write(self, model: Model, name: str) -> Written:
        found = _parts(model, name, KeysAndValues)
        both = [each.detach().flatten(1) for layer in found.values() for each in (layer.k_PGK, layer.v_PGK)]
        spec = model.config.blocks[0].attention
        values = {
            **_virtual(model, len(both[0])), "num_attention_heads": spec.num_kv_heads,
            "token_dim": spec.num_kv_heads * spec.head_size, "prefix_projection": False,
            "encoder_hidden_size": model.config.width,
        }  # fmt: skip
        return values, {PROMPT_KEY: torch.cat(both, 1).contiguous()}

    def read(self, model: Model, name: str, config: dict[str, Any], tensors: Tensors, folder: Path) -> None:
        number = config["num_virtual_tokens"]
        spec = model.config.blocks[0].attention
        size = 2 * model.config.num_layers * spec.num_kv_heads * spec.head_size
        _check(folder, "the layers", tensors, {PROMPT_KEY: (number, size)})
        build(Prefix, {"num_virtual": number}).attach(model, name, seed=0)
        layers = tensors[PROMPT_KEY].view(number, -1, 2, spec.num_kv_heads, spec.head_size)
        with torch.no_grad():
            for at, part in enumerate(_parts(model, name, KeysAndValues).values()):
                part.k_PGK.copy_(layers[:, at, 0])
                part.v_PGK.copy_(layers[:, at, 1])


class BottleneckFormat(Format):
    """Our own: down and up of every part, by our path of what they stand behind."""

    peft_type, config = "BOTTLENECK", Bottleneck
    required: ClassVar = ("width", "where", "activation")

    def write(self, model: Model, name: str) -> Written:
        config = adapters.adapters_of(model).configs[name]
        tensors = {
            f"{path}.{key}": tensor.contiguous()
            for path, part in adapters.parts(model, name).items()
            for key, tensor in part.state_dict().items()
        }
        return config.model_dump(mode="json", exclude={"kind"}), tensors

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


def _virtual(model: Model, number: int) -> dict[str, Any]:
    spec = model.config.blocks[0].attention
    return {
        "num_virtual_tokens": number, "num_transformer_submodules": 1, "num_layers": model.config.num_layers,
        "token_dim": model.config.width, "num_attention_heads": spec.num_heads,
    }  # fmt: skip


def _modules(published: Any) -> list[str]:
    return sorted({each.rpartition(".")[2] for each in published})


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
