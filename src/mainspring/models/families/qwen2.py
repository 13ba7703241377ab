"""Qwen2 and Qwen2.5: Llama with biases of queries, keys and values. Paper: arXiv:2407.10671."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import BlockSpec, ModelConfig
from mainspring.models.families import decoder
from mainspring.models.families.base import only

ARCHITECTURES = decoder.architectures("Qwen2")
NAMES = decoder.names(decoder.ATTENTION, decoder.BIASES, decoder.GLU, decoder.NORMS)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, use_sliding_window=(False, None))
    block = BlockSpec(
        mixer=decoder.attention(published, bias=True),
        ffn=decoder.glu(published),
        norm=decoder.rms(published),
    )
    return decoder.model(published, "qwen2", [block] * published["num_hidden_layers"], ARCHITECTURES)


def published(config: ModelConfig) -> dict[str, Any]:
    return {**decoder.described(config, ARCHITECTURES), "use_sliding_window": False}


def tiny() -> ModelConfig:
    return config(decoder.TINY)
