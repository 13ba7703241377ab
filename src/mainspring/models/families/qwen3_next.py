"""Qwen3-Next: the gated delta rule, gated attention in every fourth layer, experts, one of them shared.

Papers: arXiv:2412.06464 (the rule), arXiv:2505.06708 (the gate of attention).
"""

from collections.abc import Mapping
from typing import Any

from mainspring.errors import WeightsError
from mainspring.models.config import AttentionSpec, BlockSpec, FfnSpec, ModelConfig, MoeSpec
from mainspring.models.families import decoder
from mainspring.models.families.base import Patterns, only
from mainspring.models.families.experts import EXPERTS, checked, mixtures
from mainspring.models.mixer_specs import DeltaSpec

ARCHITECTURES = decoder.architectures("Qwen3Next")
DELTA: Patterns = {
    "mixer.qkvz.weight": "linear_attn.in_proj_qkvz.weight",
    "mixer.ba.weight": "linear_attn.in_proj_ba.weight",
    "mixer.conv.weight": "linear_attn.conv1d.weight",
    "mixer.dt_bias": "linear_attn.dt_bias",
    "mixer.a_log": "linear_attn.A_log",
    "mixer.norm.weight": "linear_attn.norm.weight",
    "mixer.out.weight": "linear_attn.out_proj.weight",
}
SHARED: Patterns = {
    **{
        f"ffn.shared.{each}.weight": f"mlp.shared_expert.{each}_proj.weight"
        for each in ("gate", "up", "down")
    },
    "ffn.shared_gate.weight": "mlp.shared_expert_gate.weight",
}
NEXT_TOKENS = r"^mtp\."  # predicts further tokens; released files hold it beside the model
NAMES = decoder.names(
    decoder.ATTENTION,
    decoder.HEAD_NORMS,
    DELTA,
    decoder.GLU,
    EXPERTS,
    SHARED,
    decoder.NORMS,
    unused=(NEXT_TOKENS,),
)
INTERVAL = 4
LINEAR, FULL = "linear_attention", "full_attention"


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, attention_bias=False, hidden_act="silu", use_sliding_window=(False, None))
    published = {"partial_rotary_factor": 0.25, **published}
    norm = decoder.rms(published, unit_offset=True)
    mixers = {
        LINEAR: _delta(published),
        FULL: decoder.attention(published, head_norm=norm, has_gate=True),
    }
    blocks = [
        BlockSpec(mixer=mixers[kind], ffn=_ffn(published, layer), norm=norm)
        for layer, kind in enumerate(_kinds(published))
    ]
    return decoder.model(published, "qwen3_next", blocks, ARCHITECTURES)


def _kinds(published: Mapping[str, Any]) -> list[str]:
    """Which layers attend, by a list or by how many there are from one to the next."""
    count = published["num_hidden_layers"]
    interval = published.get("full_attention_interval", INTERVAL)
    kinds = published.get("layer_types") or [
        LINEAR if (layer + 1) % interval else FULL for layer in range(count)
    ]
    if len(kinds) != count or set(kinds) != {LINEAR, FULL}:
        raise WeightsError(
            f"config.json has layer_types {sorted(set(kinds))} for {len(kinds)} of {count} layers; read is a list "
            f"of '{LINEAR}' and '{FULL}', both of them, one for every layer."
        )
    return kinds


def _delta(published: Mapping[str, Any]) -> DeltaSpec:
    num_heads, num_key_heads = published["linear_num_value_heads"], published["linear_num_key_heads"]
    if num_heads % num_key_heads:
        raise WeightsError(
            f"config.json has {num_heads} linear_num_value_heads and {num_key_heads} linear_num_key_heads; the "
            "first must be a multiple of the second."
        )
    return DeltaSpec(
        num_heads=num_heads,
        num_key_heads=num_key_heads,
        key_size=published["linear_key_head_dim"],
        value_size=published["linear_value_head_dim"],
        conv_size=published["linear_conv_kernel_dim"],
        norm_eps=published["rms_norm_eps"],
    )


def _ffn(published: Mapping[str, Any], layer: int) -> FfnSpec | MoeSpec:
    is_plain = layer in (published.get("mlp_only_layers") or ()) or published["num_experts"] == 0
    if is_plain or (layer + 1) % published.get("decoder_sparse_step", 1):
        return decoder.glu(published)
    experts = MoeSpec(
        num_experts=published["num_experts"],
        num_chosen=published["num_experts_per_tok"],
        expert=decoder.glu(published, size="moe_intermediate_size"),
        shared=decoder.glu(published, size="shared_expert_intermediate_size"),
        has_shared_gate=True,
        is_normalized=published.get("norm_topk_prob", True),
    )
    return checked(experts)


def published(config: ModelConfig) -> dict[str, Any]:
    mixers = [block.mixer for block in config.blocks]
    attention = next(mixer for mixer in mixers if isinstance(mixer, AttentionSpec))
    assert attention.rope is not None, "attention of Qwen3-Next has rotary positions"
    values = {
        **decoder.described_stack(config, ARCHITECTURES),
        "attention_bias": False,
        "num_attention_heads": attention.num_heads,
        "num_key_value_heads": attention.num_kv_heads,
        "head_dim": attention.head_size,
        "partial_rotary_factor": 1.0,
        **decoder.described_rope(attention.rope, attention.head_size),
        "layer_types": [LINEAR if isinstance(mixer, DeltaSpec) else FULL for mixer in mixers],
        "decoder_sparse_step": 1,
        "mlp_only_layers": [n for n, block in enumerate(config.blocks) if isinstance(block.ffn, FfnSpec)],
        "num_experts": 0,
    }
    delta = next(mixer for mixer in mixers if isinstance(mixer, DeltaSpec))
    values |= _described_delta(delta)
    for experts in mixtures(config)[:1]:
        values |= _described_experts(experts)
    return values


def _described_delta(delta: DeltaSpec) -> dict[str, Any]:
    return {
        "linear_num_value_heads": delta.num_heads,
        "linear_num_key_heads": delta.num_key_heads,
        "linear_key_head_dim": delta.key_size,
        "linear_value_head_dim": delta.value_size,
        "linear_conv_kernel_dim": delta.conv_size,
    }


def _described_experts(experts: MoeSpec) -> dict[str, Any]:
    assert experts.shared is not None, "Qwen3-Next has a shared expert"
    return {
        "num_experts": experts.num_experts,
        "num_experts_per_tok": experts.num_chosen,
        "moe_intermediate_size": experts.expert.hidden,
        "shared_expert_intermediate_size": experts.shared.hidden,
        "norm_topk_prob": experts.is_normalized,
    }


def tiny() -> ModelConfig:
    return config(
        {
            **decoder.TINY, "num_hidden_layers": 4, "head_dim": 24, "full_attention_interval": 3,
            "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 12,
            "linear_value_head_dim": 20, "linear_conv_kernel_dim": 4, "num_experts": 6,
            "num_experts_per_tok": 2, "moe_intermediate_size": 40, "shared_expert_intermediate_size": 56,
            "norm_topk_prob": True, "mlp_only_layers": [3], "partial_rotary_factor": 0.5,
            "tie_word_embeddings": False,
        }
    )  # fmt: skip
