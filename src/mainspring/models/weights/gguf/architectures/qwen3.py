"""Qwen3: stored as published."""

from typing import Any

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import decoder
from mainspring.models.weights.gguf.metadata import Metadata

LAYOUT = Layout()


def config(said: Metadata) -> dict[str, Any]:
    more = {"attention_bias": False, "use_sliding_window": False}
    return decoder(said, "qwen3", "Qwen3ForCausalLM", **more)
