"""T5 and T5 1.1: stored as published; whether feed-forward parts are gated, only their tensors tell."""

from typing import Any

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import closing
from mainspring.models.weights.gguf.metadata import Metadata

LAYOUT = Layout(unused=("cross_attn_rel_b.weight",))


def config(said: Metadata) -> dict[str, Any]:
    said.whole("context_length")  # positions are distances: it bounds nothing
    said.get("attention.layer_norm_epsilon")  # written twice
    head_size = said.whole("attention.key_length")
    said.expect("attention.value_length", head_size)
    num_heads = said.whole("attention.head_count")
    said.expect("attention.head_count_kv", num_heads)
    is_gated = said.has("enc.blk.0.ffn_gate.weight")
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "vocab_size": said.rows("token_embd.weight"),
        "d_model": said.whole("embedding_length"),
        "d_kv": head_size,
        "d_ff": said.whole("feed_forward_length"),
        "num_layers": said.num_blocks,
        "num_decoder_layers": _num_decoder_layers(said),
        "num_heads": num_heads,
        "relative_attention_num_buckets": said.whole("attention.relative_buckets_count"),
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": said.number("attention.layer_norm_rms_epsilon"),
        "feed_forward_proj": "gated-gelu" if is_gated else "relu",
        "tie_word_embeddings": not said.has("output.weight"),
        "is_encoder_decoder": True,
        "decoder_start_token_id": said.get("decoder_start_token_id", 0),
        "pad_token_id": said.token_id("padding", 0),
        **closing(said),
    }


def _num_decoder_layers(said: Metadata) -> int:
    if said.get("decoder_block_count") is None:
        return said.num_blocks
    return said.count("decoder_block_count", len(said.file.shapes))
