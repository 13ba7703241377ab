"""How each kind of adapter lies in files: peft's names of settings and tensors, and back.

Shapes: R rank, I a linear's inputs, O its outputs, P virtual tokens, L layers, G key-value heads, K head size.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from mainspring.adapt import base as adapters
from mainspring.adapt import lora_files
from mainspring.adapt.base import Adapter
from mainspring.adapt.bottleneck import Bottleneck
from mainspring.adapt.ia3 import Ia3, Scale
from mainspring.adapt.lora import Lora
from mainspring.adapt.peft_names import (
    PREFIX,
    Tensors,
    by_place,
    check_shapes,
    published_names,
    target_modules,
)
from mainspring.adapt.virtual import KeysAndValues, Prefix, Prompt, Vectors
from mainspring.config import build
from mainspring.errors import WeightsError
from mainspring.models.model import Model

PROMPT_KEY = "prompt_embeddings"
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
    refused: ClassVar = (
        "modules_to_save", "lora_bias", "use_qalora", "use_bdlora", "alora_invocation_tokens", "layer_replication",
        "trainable_token_indices", "target_parameters", "arrow_config", "kasa_config", "monteclora_config",
    )  # fmt: skip

    def write(self, model: Model, name: str) -> Written:
        return lora_files.write(model, name)

    def read(self, model: Model, name: str, config: dict[str, Any], tensors: Tensors, folder: Path) -> None:
        lora_files.read(model, name, config, tensors, folder)


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
            "target_modules": target_modules((published[path] for path in found), model),
            "feedforward_modules": target_modules(
                (published[path] for path, scale in found.items() if scale.is_input), model
            ),
        }
        return values, {key: tensor.contiguous() for key, tensor in tensors.items()}

    def read(self, model: Model, name: str, config: dict[str, Any], tensors: Tensors, folder: Path) -> None:
        paths = {published: path for path, published in published_names(model).items()}
        by_path = by_place(model, folder, tensors, ("ia3_l",), paths)
        inputs = {path for path, found in by_path.items() if found["ia3_l"].shape[0] == 1}
        sides = {"inputs": sorted(_names(inputs)), "outputs": sorted(_names(set(by_path) - inputs))}
        linears = adapters.linears_at(model, list(by_path))
        for path, found in by_path.items():
            linear = linears[path]
            shape = (1, linear.in_features) if path in inputs else (linear.out_features, 1)
            check_shapes(folder, path, found, {"ia3_l": shape})
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
        check_shapes(folder, "the embedding", tensors, {PROMPT_KEY: (number, model.config.width)})
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
        check_shapes(folder, "the layers", tensors, {PROMPT_KEY: (number, size)})
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
            check_shapes(folder, "the layers", tensors, expected)
        except WeightsError:
            adapters.remove(model, name)
            raise
        for path, part in found.items():
            part.load_state_dict({key: tensors[f"{path}.{key}"] for key in part.state_dict()})


FORMATS: Mapping[str, Format] = {
    each.peft_type: each
    for each in (LoraFormat(), Ia3Format(), PrefixFormat(), PromptFormat(), BottleneckFormat())
}


def _parts(model: Model, name: str, kind: type[Any]) -> dict[str, Any]:
    return {path: part for path, part in adapters.parts(model, name).items() if isinstance(part, kind)}


def _virtual(model: Model, number: int) -> dict[str, Any]:
    spec = model.config.blocks[0].attention
    return {
        "num_virtual_tokens": number, "num_transformer_submodules": 1, "num_layers": model.config.num_layers,
        "token_dim": model.config.width, "num_attention_heads": spec.num_heads,
    }  # fmt: skip


def _names(paths: Any) -> set[str]:
    return {path.rpartition(".")[2] for path in paths}
