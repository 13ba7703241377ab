"""Llama, Mistral and Mixtral; rows of queries and keys stand in the order in which pairs rotate side by side."""

from typing import Any

import torch

from mainspring.models.weights.gguf.architectures.base import Layout
from mainspring.models.weights.gguf.architectures.decoder import decoder
from mainspring.models.weights.gguf.architectures.experts import experts
from mainspring.models.weights.gguf.architectures.rope import FACTORS
from mainspring.models.weights.gguf.metadata import Metadata


def queries(said: Metadata, rows: torch.Tensor) -> torch.Tensor:
    return _unpermute(rows, said.whole("attention.head_count"))


def keys(said: Metadata, rows: torch.Tensor) -> torch.Tensor:
    num_heads = said.whole("attention.head_count")
    return _unpermute(rows, said.whole("attention.head_count_kv", num_heads))


def _unpermute(rows: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Undo GGUF's order of query and key rows: pairs that rotate together stand K/2 apart again."""
    size = rows.shape[0] // num_heads
    return rows.view(num_heads, size // 2, 2, -1).transpose(1, 2).reshape(rows.shape)


LAYOUT = Layout(undo={"attn_q.weight": queries, "attn_k.weight": keys}, unused=(FACTORS,))


def config(said: Metadata) -> dict[str, Any]:
    window = said.window()
    if said.get("expert_count"):
        more = {"sliding_window": window, **experts(said, "num_local_experts")}
        return decoder(said, "mixtral", "MixtralForCausalLM", **more)
    if window is not None:
        return decoder(said, "mistral", "MistralForCausalLM", sliding_window=window)
    return decoder(said, "llama", "LlamaForCausalLM", attention_bias=False, mlp_bias=False)
