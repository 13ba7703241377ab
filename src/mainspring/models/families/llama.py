"""Llama and those built like it (SmolLM2). Paper: arXiv:2302.13971."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import BlockSpec, ModelConfig
from mainspring.models.families import decoder
from mainspring.models.families.base import only

ARCHITECTURES = decoder.architectures("Llama")
NAMES = decoder.names(decoder.ATTENTION, decoder.GLU, decoder.NORMS)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, attention_bias=False, mlp_bias=False)
    block = BlockSpec(
        mixer=decoder.attention(published), ffn=decoder.glu(published), norm=decoder.rms(published)
    )
    return decoder.model(published, "llama", [block] * published["num_hidden_layers"], ARCHITECTURES)


def published(config: ModelConfig) -> dict[str, Any]:
    return {**decoder.described(config, ARCHITECTURES), "attention_bias": False, "mlp_bias": False}


def tiny() -> ModelConfig:
    return config(decoder.TINY)
