"""Qwen3-Next: projections of the delta rule are stored by kind where published ones are by head; norms as Gemma's."""

from typing import Any

import torch

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import decoder
from mainspring.models.weights.gguf.architectures.experts import experts
from mainspring.models.weights.gguf.architectures.gemma2 import minus_one
from mainspring.models.weights.gguf.architectures.states import CONVOLUTION, RENAMED, logarithm
from mainspring.models.weights.gguf.metadata import Metadata


def by_heads(said: Metadata, qkv: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """All queries, keys, values and gates, each head's behind one another again."""
    num_key_heads, key_rows = said.whole("ssm.group_count"), qkv.shape[0] - gate.shape[0]
    parts = [*qkv.split([key_rows // 2, key_rows // 2, gate.shape[0]]), gate]
    return torch.cat([part.unflatten(0, (num_key_heads, -1)) for part in parts], dim=1).flatten(0, 1)


def row(_: Metadata, weight: torch.Tensor) -> torch.Tensor:
    return weight.reshape(1, -1)


NORMS = ("attn_norm", "post_attention_norm", "output_norm", "attn_q_norm", "attn_k_norm")
LAYOUT = Layout(
    undo={
        **CONVOLUTION,
        **{f"{norm}.weight": minus_one for norm in NORMS},
        "ssm_a": logarithm,
        "attn_qkv.weight": by_heads,
        "ffn_gate_inp_shexp.weight": row,
    },
    joined={"ssm_in.weight": ("attn_qkv.weight", "attn_gate.weight")},
    renamed=RENAMED,
)


def config(said: Metadata) -> dict[str, Any]:
    said.get("full_attention_interval")  # the layers' tensors tell it
    num_heads = said.whole("ssm.time_step_rank")
    attends = [said.has(f"blk.{layer}.attn_q.weight") for layer in range(said.num_blocks)]
    return decoder(
        said,
        "qwen3_next",
        "Qwen3NextForCausalLM",
        attention_bias=False,
        layer_types=["full_attention" if each else "linear_attention" for each in attends],
        linear_num_value_heads=num_heads,
        linear_num_key_heads=said.whole("ssm.group_count"),
        linear_key_head_dim=said.whole("ssm.state_size"),
        linear_value_head_dim=said.whole("ssm.inner_size") // num_heads,
        linear_conv_kernel_dim=said.whole("ssm.conv_kernel"),
        **experts(said, "num_experts"),
        moe_intermediate_size=said.whole("expert_feed_forward_length"),
        shared_expert_intermediate_size=said.whole("expert_shared_feed_forward_length"),
        norm_topk_prob=said.get("expert_weights_norm", True),
        decoder_sparse_step=1,
        mlp_only_layers=[],
    )
