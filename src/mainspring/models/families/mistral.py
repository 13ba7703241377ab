"""Mistral: Llama with a window. Paper: arXiv:2310.06825."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import BlockSpec, ModelConfig
from mainspring.models.families import decoder

ARCHITECTURES = decoder.architectures("Mistral")
NAMES = decoder.names(decoder.ATTENTION, decoder.GLU, decoder.NORMS)


def config(published: Mapping[str, Any]) -> ModelConfig:
    block = BlockSpec(
        mixer=decoder.attention(published, window=published.get("sliding_window")),
        ffn=decoder.glu(published),
        norm=decoder.rms(published),
    )
    return decoder.model(published, "mistral", [block] * published["num_hidden_layers"], ARCHITECTURES)


def published(config: ModelConfig) -> dict[str, Any]:
    return {**decoder.described(config, ARCHITECTURES), "sliding_window": config.blocks[0].attention.window}


def tiny() -> ModelConfig:
    return config({**decoder.TINY, "sliding_window": 8, "tie_word_embeddings": False})
