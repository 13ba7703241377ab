"""How each kind of adapter lies in files: peft's names of settings and tensors, and back.

Shapes: R rank, I a linear's inputs, O its outputs, P virtual tokens, L layers, G key-value heads, K head size.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from mainspring.adapt import base as adapters
from mainspring.adapt import ia3, ia3_files, lora_files
from mainspring.adapt.base import Adapter
from mainspring.adapt.bottleneck import Bottleneck
from mainspring.adapt.ia3 import Ia3, Scale
from mainspring.adapt.lora import Lora
from mainspring.adapt.peft_names import (
    PREFIX,
    Tensors,
    check_shapes,
    target_modules,
)
from mainspring.adapt.prefix import KeysAndValues, Prefix, size_of
from mainspring.adapt.prompt import Prompt, Vectors
from mainspring.config import build
from mainspring.errors import WeightsError
from mainspring.models.families.base import names_of
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
    """ia3_l of every matrix, see ia3_files.py; `fan_in_fan_out` says that GPT-2's are stored turned."""

    peft_type, config = "IA3", Ia3
    required: ClassVar = ("target_modules",)
    refused: ClassVar = ("modules_to_save",)

    def write(self, model: Model, name: str) -> Written:
        vectors = ia3_files.written(model, _parts(model, name, Scale))
        inputs = [published for published, vector in vectors.items() if len(vector) == 1]
        settings = {
            "target_modules": target_modules(model, vectors), "feedforward_modules": target_modules(model, inputs),
            "fan_in_fan_out": any(each.is_transposed for each in names_of(model.config).entries(model.config)),
        }  # fmt: skip
        return settings, {f"{PREFIX}{published}.ia3_l": vector for published, vector in vectors.items()}

    def read(self, model: Model, name: str, config: dict[str, Any], tensors: Tensors, folder: Path) -> None:
        vectors = {key.removeprefix(PREFIX).removesuffix(".ia3_l"): each for key, each in tensors.items()}
        found = ia3_files.read(model, vectors, folder)
        is_input = {path: is_input for path, (_, is_input) in found.items()}
        inputs = {path for path in found if is_input[path]}
        sides = {"inputs": sorted(_names(inputs)), "outputs": sorted(_names(set(found) - inputs))}
        made = ia3.put_on(model, build(Ia3, sides), name, is_input)
        with torch.no_grad():
            for path, scale in made.items():
                scale.scale_X.copy_(found[path][0])


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
        check_shapes(folder, "the embedding", tensors, {PROMPT_KEY: (number, model.config.width)})
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
        check_shapes(folder, "the layers", tensors, {PROMPT_KEY: (number, size)})
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


def _virtual(model: Model, table: torch.Tensor) -> dict[str, Any]:
    return {
        "num_virtual_tokens": len(table),
        "num_layers": model.config.num_layers,
        "num_transformer_submodules": 1,
    }


def _names(paths: Any) -> set[str]:
    return {path.rpartition(".")[2] for path in paths}
