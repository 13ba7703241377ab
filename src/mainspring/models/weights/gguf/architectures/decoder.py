"""What the architectures after Llama share. Not an architecture itself."""

from typing import Any

from mainspring.models.weights.gguf.architectures.rope import rope_keys
from mainspring.models.weights.gguf.metadata import Metadata


def decoder(said: Metadata, model_type: str, class_name: str, **more: Any) -> dict[str, Any]:
    """The config.json of a decoder with grouped heads and gated feed-forward parts; `more` are its own keys."""
    width, num_heads = said.whole("embedding_length"), said.whole("attention.head_count")
    head_size = said.whole("attention.key_length", width // num_heads)
    said.expect("attention.value_length", head_size)
    said.expect("attention.causal", True)
    return {
        "architectures": [class_name],
        "model_type": model_type,
        "vocab_size": said.rows("token_embd.weight"),
        "hidden_size": width,
        "intermediate_size": said.whole("feed_forward_length"),
        "num_hidden_layers": said.num_blocks,
        "num_attention_heads": num_heads,
        "num_key_value_heads": said.whole("attention.head_count_kv", num_heads),
        "head_dim": head_size,
        "hidden_act": "silu",
        "max_position_embeddings": said.whole("context_length"),
        "rms_norm_eps": said.number("attention.layer_norm_rms_epsilon"),
        **rope_keys(said, head_size),
        "tie_word_embeddings": not said.has("output.weight"),
        **more,
        **closing(said),
    }


def closing(said: Metadata) -> dict[str, Any]:
    """The last keys of every config.json."""
    return {
        "bos_token_id": said.token_id("bos"),
        "eos_token_id": said.token_id("eos"),
        "torch_dtype": "float32",
    }
