"""Qwen3: Llama with normalized queries and keys. Paper: arXiv:2505.09388."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import BlockSpec, ModelConfig
from mainspring.models.families import decoder
from mainspring.models.families.base import only

ARCHITECTURES = decoder.architectures("Qwen3")
NAMES = decoder.names(decoder.ATTENTION, decoder.HEAD_NORMS, decoder.GLU, decoder.NORMS)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, use_sliding_window=(False, None), attention_bias=False)
    norm = decoder.rms(published)
    block = BlockSpec(
        mixer=decoder.attention(published, head_norm=norm), ffn=decoder.glu(published), norm=norm
    )
    return decoder.model(published, "qwen3", [block] * published["num_hidden_layers"], ARCHITECTURES)


def published(config: ModelConfig) -> dict[str, Any]:
    return {**decoder.described(config, ARCHITECTURES), "attention_bias": False, "use_sliding_window": False}


def tiny() -> ModelConfig:
    return config({**decoder.TINY, "head_dim": 24})
