"""Phi-3: stored as published; a window of zero is none."""

from typing import Any

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import decoder
from mainspring.models.weights.gguf.metadata import Metadata

LAYOUT = Layout()


def config(said: Metadata) -> dict[str, Any]:
    more = {"attention_bias": False, "sliding_window": said.window(), "pad_token_id": None}
    return decoder(said, "phi3", "Phi3ForCausalLM", **more)
