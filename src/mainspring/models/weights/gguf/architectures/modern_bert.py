"""ModernBERT: stored as published; every n-th layer, the first among them, sees the whole text."""

from typing import Any

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.bert import pooling
from mainspring.models.weights.gguf.architectures.decoder import closing
from mainspring.models.weights.gguf.metadata import Metadata

LAYOUT = Layout()


def config(said: Metadata) -> dict[str, Any]:
    said.expect("attention.causal", False)
    said.expect("rope.scaling.type", "none")
    num_heads = said.whole("attention.head_count")
    said.expect("attention.head_count_kv", num_heads)
    return {
        "architectures": ["ModernBertModel"],
        "model_type": "modernbert",
        "vocab_size": said.rows("token_embd.weight"),
        "hidden_size": said.whole("embedding_length"),
        "intermediate_size": said.whole("feed_forward_length"),
        "num_hidden_layers": said.num_blocks,
        "num_attention_heads": num_heads,
        "hidden_activation": said.get("hidden_activation", "gelu"),
        "max_position_embeddings": said.whole("context_length"),
        "norm_eps": said.number("attention.layer_norm_epsilon"),
        "local_attention": said.whole("attention.sliding_window"),
        "global_attn_every_n_layers": said.whole("attention.sliding_window_pattern", 3),
        "global_rope_theta": said.number("rope.freq_base", 160_000.0),
        "local_rope_theta": said.number("rope.freq_base_swa", 10_000.0),
        **pooling(said),
        **closing(said),
        "pad_token_id": said.token_id("padding", 0),
    }
