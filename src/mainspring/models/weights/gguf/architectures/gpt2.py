"""GPT-2: matrices are stored as (out, in), which the table of the family's names says already."""

from typing import Any

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import closing
from mainspring.models.weights.gguf.metadata import Metadata

LAYOUT = Layout()


def config(said: Metadata) -> dict[str, Any]:
    num_heads = said.whole("attention.head_count")
    said.expect("attention.head_count_kv", num_heads)
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": said.rows("token_embd.weight"),
        "n_embd": said.whole("embedding_length"),
        "n_layer": said.num_blocks,
        "n_head": num_heads,
        "n_positions": said.whole("context_length"),
        "n_inner": said.whole("feed_forward_length"),
        "layer_norm_epsilon": said.number("attention.layer_norm_epsilon"),
        "activation_function": "gelu_new",
        "tie_word_embeddings": not said.has("output.weight"),
        **closing(said),
    }
