"""MPT: stored as published."""

from typing import Any

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import closing
from mainspring.models.weights.gguf.metadata import Metadata

LAYOUT = Layout()


def config(said: Metadata) -> dict[str, Any]:
    width, num_heads = said.whole("embedding_length"), said.whole("attention.head_count")
    said.expect("attention.head_count_kv", num_heads)
    slope = round(said.number("attention.max_alibi_bias"))
    return {
        "architectures": ["MptForCausalLM"],
        "model_type": "mpt",
        "vocab_size": said.rows("token_embd.weight"),
        "d_model": width,
        "n_layers": said.num_blocks,
        "n_heads": num_heads,
        "expansion_ratio": said.whole("feed_forward_length") // width,
        "max_seq_len": said.whole("context_length"),
        "layer_norm_epsilon": said.number("attention.layer_norm_epsilon"),
        "no_bias": True,
        "attn_config": {"alibi": slope > 0, "alibi_bias_max": slope},
        **closing(said),
    }
