"""Gemma 3's text models: stored like Gemma 2, with normalized heads and a rotary base of its own for windows."""

from typing import Any

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import decoder
from mainspring.models.weights.gguf.architectures.gemma2 import NORMS, gemma, minus_one
from mainspring.models.weights.gguf.metadata import Metadata

NUM_BLOCKS_OF_27B = 62
LAYOUT = Layout(undo={f"{norm}.weight": minus_one for norm in (*NORMS, "attn_q_norm", "attn_k_norm")})


def config(said: Metadata) -> dict[str, Any]:
    values = decoder(
        said,
        "gemma3_text",
        "Gemma3ForCausalLM",
        rope_local_base_freq=said.number("rope.freq_base_swa", 10_000.0),
        sliding_window=said.whole("attention.sliding_window", 1024),
        sliding_window_pattern=said.whole("attention.sliding_window_pattern", 6),
    )
    values["rope_theta"] = said.number("rope.freq_base", 1_000_000.0)
    return gemma(said, values, NUM_BLOCKS_OF_27B)
