"""Mamba-2: decays, skips and norms are stored with one dimension more."""

from typing import Any

import torch

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import closing
from mainspring.models.weights.gguf.architectures.states import CONVOLUTION, RENAMED, logarithm_a_head
from mainspring.models.weights.gguf.metadata import Metadata


def flat(_: Metadata, weight: torch.Tensor) -> torch.Tensor:
    return weight.flatten()


LAYOUT = Layout(
    undo={**CONVOLUTION, "ssm_a": logarithm_a_head, "ssm_d": flat, "ssm_norm.weight": flat},
    renamed=RENAMED,
)


def config(said: Metadata) -> dict[str, Any]:
    width, inner = said.whole("embedding_length"), said.whole("ssm.inner_size")
    num_heads = said.whole("ssm.time_step_rank")
    said.get("context_length")  # a state has no positions
    return {
        "architectures": ["Mamba2ForCausalLM"],
        "model_type": "mamba2",
        "vocab_size": said.rows("token_embd.weight"),
        "hidden_size": width,
        "num_hidden_layers": said.num_blocks,
        "num_heads": num_heads,
        "head_dim": inner // num_heads,
        "expand": inner // width,
        "state_size": said.whole("ssm.state_size"),
        "n_groups": said.whole("ssm.group_count"),
        "conv_kernel": said.whole("ssm.conv_kernel"),
        "use_conv_bias": said.has("blk.0.ssm_conv1d.bias"),
        "use_bias": said.has("blk.0.ssm_in.bias"),
        "layer_norm_epsilon": said.number("attention.layer_norm_rms_epsilon"),
        "hidden_act": "silu",
        "tie_word_embeddings": not said.has("output.weight"),
        **closing(said),
    }
