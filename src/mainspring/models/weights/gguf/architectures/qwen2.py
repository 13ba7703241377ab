"""Qwen2 and Qwen2.5: stored as published."""

from typing import Any

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import decoder
from mainspring.models.weights.gguf.metadata import Metadata

LAYOUT = Layout()


def config(said: Metadata) -> dict[str, Any]:
    return decoder(said, "qwen2", "Qwen2ForCausalLM", use_sliding_window=False)
