"""DeepSeek-V3: what makes keys and values of a latent is stored in two stacks of heads, keys transposed."""

from typing import Any

import torch

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import closing
from mainspring.models.weights.gguf.architectures.experts import experts
from mainspring.models.weights.gguf.architectures.rope import rope_keys
from mainspring.models.weights.gguf.metadata import Metadata

SCORES = {1: "softmax", 2: "sigmoid"}
LOG_MULTIPLIER = "rope.scaling.yarn_log_multiplier"  # a tenth of how much longer contexts sharpen the scores


def keys_and_values(_: Metadata, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.cat([keys.transpose(1, 2), values], dim=1).flatten(0, 1)


LAYOUT = Layout(
    undo={"attn_k_b.weight": keys_and_values},
    joined={"attn_kv_b.weight": ("attn_k_b.weight", "attn_v_b.weight")},
    renamed=(("e_score_correction_bias", "e_score_correction.bias"),),
)


def config(said: Metadata) -> dict[str, Any]:
    num_heads = said.whole("attention.head_count")
    said.expect("attention.head_count_kv", 1, num_heads)
    return {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "vocab_size": said.rows("token_embd.weight"),
        "hidden_size": said.whole("embedding_length"),
        "intermediate_size": said.whole("feed_forward_length"),
        "num_hidden_layers": said.num_blocks,
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_heads,
        "hidden_act": "silu",
        "max_position_embeddings": said.whole("context_length"),
        "rms_norm_eps": said.number("attention.layer_norm_rms_epsilon"),
        "attention_bias": False,
        **_latent(said),
        **_experts(said),
        "tie_word_embeddings": not said.has("output.weight"),
        **closing(said),
    }


def _latent(said: Metadata) -> dict[str, Any]:
    rank, rope_size = said.whole("attention.kv_lora_rank"), said.whole("rope.dimension_count")
    key_size = said.whole("attention.key_length_mla", said.get("attention.key_length"))
    value_size = said.whole("attention.value_length_mla", said.get("attention.value_length"))
    rope = rope_keys(said, rope_size)
    sharpening = said.number(LOG_MULTIPLIER, 0.0)
    if sharpening and "rope_scaling" in rope:
        both = round(10 * sharpening, 6)
        rope["rope_scaling"] |= {"mscale": both, "mscale_all_dim": both}
    return {
        "q_lora_rank": said.whole("attention.q_lora_rank") if said.get("attention.q_lora_rank") else None,
        "kv_lora_rank": rank,
        "qk_nope_head_dim": key_size - rope_size,
        "qk_rope_head_dim": rope_size,
        "v_head_dim": value_size,
        "rope_interleave": True,
        **rope,
    }


def _experts(said: Metadata) -> dict[str, Any]:
    is_balanced = any(name.endswith("exp_probs_b.bias") for name in said.file.shapes)
    return {
        "first_k_dense_replace": said.get("leading_dense_block_count", 0),
        **experts(said, "n_routed_experts"),
        "n_shared_experts": said.whole("expert_shared_count"),
        "moe_intermediate_size": said.whole("expert_feed_forward_length"),
        "norm_topk_prob": said.get("expert_weights_norm", False),
        "routed_scaling_factor": said.number("expert_weights_scale", 1.0),
        "n_group": said.whole("expert_group_count", 1),
        "topk_group": said.whole("expert_group_used_count", 1),
        "scoring_func": SCORES.get(said.get("expert_gating_func", 1), "unknown"),
        "topk_method": "noaux_tc" if is_balanced else "greedy",
        "num_nextn_predict_layers": 0,
    }
