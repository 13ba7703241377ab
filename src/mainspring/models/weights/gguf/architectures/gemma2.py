"""Gemma 2: norms are stored as what they multiply with, one more than published.

(weight - 1) + 1 is the stored weight again bit for bit where that is between 1/2 and 2, else within one rounding.
"""

from typing import Any

import torch

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import decoder
from mainspring.models.weights.gguf.metadata import Metadata

NUM_BLOCKS_OF_27B = 46  # the one size whose scale is not that of its heads, which no key tells


def minus_one(_: Metadata, weight: torch.Tensor) -> torch.Tensor:
    return weight - 1


NORMS = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "output_norm")
LAYOUT = Layout(undo={f"{norm}.weight": minus_one for norm in NORMS})


def config(said: Metadata) -> dict[str, Any]:
    values = decoder(
        said,
        "gemma2",
        "Gemma2ForCausalLM",
        sliding_window=said.whole("attention.sliding_window", 4096),
        attn_logit_softcapping=said.optional("attn_logit_softcapping"),
    )
    return gemma(said, values, NUM_BLOCKS_OF_27B)


def gemma(said: Metadata, values: dict[str, Any], num_blocks_of_27b: int) -> dict[str, Any]:
    """What Gemma 2 and 3 share."""
    scale = values["head_dim"]
    if values["num_hidden_layers"] == num_blocks_of_27b:
        scale = values["hidden_size"] // values["num_attention_heads"]
    del values["hidden_act"]
    return {
        **values,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": scale,
        "final_logit_softcapping": said.optional("final_logit_softcapping"),
    }
