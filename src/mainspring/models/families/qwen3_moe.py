"""Qwen3-MoE: Qwen3 with mixtures of experts in all layers or some. Paper: arXiv:2505.09388."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import BlockSpec, FfnSpec, ModelConfig, MoeSpec
from mainspring.models.families import decoder
from mainspring.models.families.base import only
from mainspring.models.families.experts import EXPERTS, checked, mixtures

ARCHITECTURES = decoder.architectures("Qwen3Moe")
NAMES = decoder.names(decoder.ATTENTION, decoder.HEAD_NORMS, decoder.GLU, EXPERTS, decoder.NORMS)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, use_sliding_window=(False, None), attention_bias=False)
    norm = decoder.rms(published)
    mixer = decoder.attention(published, head_norm=norm)
    blocks = [
        BlockSpec(mixer=mixer, ffn=_ffn(published, layer), norm=norm)
        for layer in range(published["num_hidden_layers"])
    ]
    return decoder.model(published, "qwen3_moe", blocks, ARCHITECTURES)


def _ffn(published: Mapping[str, Any], layer: int) -> FfnSpec | MoeSpec:
    """Every `decoder_sparse_step`-th layer has experts, unless it is among those that are said not to."""
    is_plain = layer in (published.get("mlp_only_layers") or ())
    if is_plain or (layer + 1) % published.get("decoder_sparse_step", 1):
        return decoder.glu(published)
    experts = MoeSpec(
        num_experts=published["num_local_experts" if "num_local_experts" in published else "num_experts"],
        num_chosen=published["num_experts_per_tok"],
        expert=decoder.glu(published, size="moe_intermediate_size"),
        is_normalized=published.get("norm_topk_prob", False),
    )
    return checked(experts)


def published(config: ModelConfig) -> dict[str, Any]:
    values = {
        **decoder.described(config, ARCHITECTURES),
        "attention_bias": False,
        "use_sliding_window": False,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [
            layer for layer, block in enumerate(config.blocks) if isinstance(block.ffn, FfnSpec)
        ],
    }
    for experts in mixtures(config)[:1]:
        values |= {
            "num_experts": experts.num_experts,
            "num_experts_per_tok": experts.num_chosen,
            "moe_intermediate_size": experts.expert.hidden,
            "norm_topk_prob": experts.is_normalized,
        }
    return values


def tiny() -> ModelConfig:
    return config(
        {
            **decoder.TINY, "num_hidden_layers": 4, "head_dim": 24, "num_experts": 6, "num_experts_per_tok": 2,
            "moe_intermediate_size": 40, "decoder_sparse_step": 2, "norm_topk_prob": False,
        }
    )  # fmt: skip
