"""Qwen3-MoE: all layers have experts, their shares normalized, as in every released model."""

from typing import Any

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import decoder
from mainspring.models.weights.gguf.architectures.experts import experts
from mainspring.models.weights.gguf.metadata import Metadata

LAYOUT = Layout()


def config(said: Metadata) -> dict[str, Any]:
    more = {
        "attention_bias": False,
        "use_sliding_window": False,
        **experts(said, "num_experts"),
        "moe_intermediate_size": said.whole("expert_feed_forward_length"),
        "norm_topk_prob": said.get("expert_weights_norm", True),
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }
    return decoder(said, "qwen3_moe", "Qwen3MoeForCausalLM", **more)
