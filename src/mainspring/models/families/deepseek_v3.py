"""DeepSeek-V3: latent attention, shared experts, a router that a bias balances. Paper: arXiv:2412.19437."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import BlockSpec, FfnSpec, LatentSpec, ModelConfig, MoeSpec, NormSpec, RopeSpec
from mainspring.models.families import decoder
from mainspring.models.families.base import Names, Patterns, only
from mainspring.models.families.experts import EXPERTS, checked, mixtures
from mainspring.models.parts.rope import sharpened

ARCHITECTURES = decoder.architectures("DeepseekV3")
LATENT: Patterns = {
    "mixer.q_down.weight": "self_attn.q_a_proj.weight",
    "mixer.q_norm.weight": "self_attn.q_a_layernorm.weight",
    "mixer.kv_down.weight": "self_attn.kv_a_proj_with_mqa.weight",
    "mixer.kv_norm.weight": "self_attn.kv_a_layernorm.weight",
    "mixer.kv_up.weight": "self_attn.kv_b_proj.weight",
    "mixer.o.weight": "self_attn.o_proj.weight",
}
BALANCED: Patterns = {
    **EXPERTS,
    "ffn.balance": "mlp.gate.e_score_correction_bias",
    **{
        f"ffn.shared.{each}.weight": f"mlp.shared_experts.{each}_proj.weight"
        for each in ("gate", "up", "down")
    },
}
NEXT_TOKENS = r"^model\.layers\.61\."  # behind the 61 layers of released files: predicts a second token
LATENT_EPS = 1e-6


def names(config: ModelConfig) -> Names:
    """Queries that come of a latent have another name than those of the token itself."""
    has_latent = _latent(config).q_rank is not None
    queries: Patterns = {"mixer.q.weight": f"self_attn.{'q_b' if has_latent else 'q'}_proj.weight"}
    parts = (queries, LATENT, decoder.GLU, BALANCED, decoder.NORMS)
    return decoder.names(*parts, unused=(NEXT_TOKENS,))


def config(published: Mapping[str, Any]) -> ModelConfig:
    num_heads = published["num_attention_heads"]
    only(published, attention_bias=False, num_key_value_heads=(num_heads, None))
    only(published, scoring_func="sigmoid", topk_method="noaux_tc", moe_layer_freq=1)
    num_plain = published.get("first_k_dense_replace", 3)
    mixer, experts = _mixer(published), checked(_experts(published))
    blocks = [
        BlockSpec(
            mixer=mixer,
            ffn=decoder.glu(published) if layer < num_plain else experts,
            norm=decoder.rms(published),
        )
        for layer in range(published["num_hidden_layers"])
    ]
    return decoder.model(published, "deepseek_v3", blocks, ARCHITECTURES)


def _mixer(published: Mapping[str, Any]) -> LatentSpec:
    plain_size, rope_size = published["qk_nope_head_dim"], published["qk_rope_head_dim"]
    rope = decoder.rope({**published, "head_dim": rope_size})
    return LatentSpec(
        num_heads=published["num_attention_heads"],
        q_rank=published["q_lora_rank"],
        kv_rank=published["kv_lora_rank"],
        plain_size=plain_size,
        rope_size=rope_size,
        value_size=published["v_head_dim"],
        rope=rope,
        norm=NormSpec(kind="rms", eps=LATENT_EPS),
        is_interleaved=published.get("rope_interleave", True),
        scale=_scale(plain_size + rope_size, rope),
    )


def _scale(key_size: int, rope: RopeSpec) -> float | None:
    """Longer contexts sharpen the scores, if the file says for all dimensions by how much."""
    scaling = rope.scaling
    if scaling is None or not scaling.mscale_all_dim:
        return None
    return key_size**-0.5 * sharpened(scaling.factor, scaling.mscale_all_dim) ** 2


def _experts(published: Mapping[str, Any]) -> MoeSpec:
    expert = decoder.glu(published, size="moe_intermediate_size")
    shared = expert.model_copy(update={"hidden": expert.hidden * published["n_shared_experts"]})
    return MoeSpec(
        num_experts=published["n_routed_experts"],
        num_chosen=published["num_experts_per_tok"],
        expert=expert,
        shared=shared,
        scores="sigmoid",
        is_normalized=published["norm_topk_prob"],
        scale=published["routed_scaling_factor"],
        has_balance=True,
        num_groups=published["n_group"] or 1,
        num_chosen_groups=published["topk_group"] or 1,
    )


def _latent(config: ModelConfig) -> LatentSpec:
    mixer = config.blocks[0].mixer
    assert isinstance(mixer, LatentSpec), "layers of DeepSeek-V3 have latent attention"
    return mixer


def published(config: ModelConfig) -> dict[str, Any]:
    mixer = _latent(config)
    values = {
        **decoder.described_stack(config, ARCHITECTURES),
        "attention_bias": False,
        "num_attention_heads": mixer.num_heads,
        "num_key_value_heads": mixer.num_heads,
        "q_lora_rank": mixer.q_rank,
        "kv_lora_rank": mixer.kv_rank,
        "qk_nope_head_dim": mixer.plain_size,
        "qk_rope_head_dim": mixer.rope_size,
        "v_head_dim": mixer.value_size,
        "rope_interleave": mixer.is_interleaved,
        **decoder.described_rope(mixer.rope, mixer.rope_size),
        "num_nextn_predict_layers": 0,
        "first_k_dense_replace": sum(isinstance(block.ffn, FfnSpec) for block in config.blocks),
    }
    return values | _described_experts(mixtures(config)[0])


def _described_experts(experts: MoeSpec) -> dict[str, Any]:
    assert experts.shared is not None, "DeepSeek-V3 has shared experts"
    return {
        "n_routed_experts": experts.num_experts,
        "num_experts_per_tok": experts.num_chosen,
        "n_shared_experts": experts.shared.hidden // experts.expert.hidden,
        "moe_intermediate_size": experts.expert.hidden,
        "norm_topk_prob": experts.is_normalized,
        "routed_scaling_factor": experts.scale,
        "n_group": experts.num_groups,
        "topk_group": experts.num_chosen_groups,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
    }


def tiny() -> ModelConfig:
    return config(
        {
            **decoder.TINY, "num_hidden_layers": 3, "num_key_value_heads": 4, "tie_word_embeddings": False,
            "q_lora_rank": 40, "kv_lora_rank": 32, "qk_nope_head_dim": 24, "qk_rope_head_dim": 8,
            "v_head_dim": 20, "first_k_dense_replace": 1, "n_routed_experts": 8, "num_experts_per_tok": 3,
            "n_shared_experts": 2, "moe_intermediate_size": 24, "norm_topk_prob": True, "n_group": 4,
            "topk_group": 2, "routed_scaling_factor": 1.5,
            "rope_scaling": {
                "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "mscale": 0.8,
                "mscale_all_dim": 1.0,
            },
        }
    )  # fmt: skip
