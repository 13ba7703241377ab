"""Llama and those built like it (SmolLM2). Paper: arXiv:2302.13971."""

from collections.abc import Mapping
from typing import Any

from mainspring.errors import WeightsError
from mainspring.models.config import AttentionSpec, BlockSpec, FfnSpec, ModelConfig, NormSpec
from mainspring.models.families.base import Names

NAMES = Names(
    top={"embedding.weight": "model.embed_tokens.weight", "final_norm.weight": "model.norm.weight"},
    layer={
        "attention.q.weight": "model.layers.{i}.self_attn.q_proj.weight",
        "attention.k.weight": "model.layers.{i}.self_attn.k_proj.weight",
        "attention.v.weight": "model.layers.{i}.self_attn.v_proj.weight",
        "attention.o.weight": "model.layers.{i}.self_attn.o_proj.weight",
        "ffn.gate.weight": "model.layers.{i}.mlp.gate_proj.weight",
        "ffn.up.weight": "model.layers.{i}.mlp.up_proj.weight",
        "ffn.down.weight": "model.layers.{i}.mlp.down_proj.weight",
        "attention_norm.weight": "model.layers.{i}.input_layernorm.weight",
        "ffn_norm.weight": "model.layers.{i}.post_attention_layernorm.weight",
    },
    head="lm_head.weight",
)


def config(published: Mapping[str, Any]) -> ModelConfig:
    width, num_heads = published["hidden_size"], published["num_attention_heads"]
    norm = NormSpec(kind="rms", eps=published["rms_norm_eps"])
    block = BlockSpec(
        attention=AttentionSpec(
            num_heads=num_heads,
            num_kv_heads=published.get("num_key_value_heads", num_heads),
            head_size=published.get("head_dim") or width // num_heads,
            rope_theta=_rope_theta(published),
        ),
        ffn=FfnSpec(kind="glu", hidden=published["intermediate_size"], activation="silu"),
        norm=norm,
    )
    return ModelConfig(
        family="llama",
        vocab_size=published["vocab_size"],
        width=width,
        context=published["max_position_embeddings"],
        blocks=(block,) * published["num_hidden_layers"],
        final_norm=norm,
        tied=published.get("tie_word_embeddings", False),
    )


def _rope_theta(published: Mapping[str, Any]) -> float:
    """The base of the rotary frequencies, where older and newer files keep it."""
    rope = published.get("rope_parameters") or published.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise WeightsError(f"config.json scales rotary positions by '{kind}'; only unscaled ones are read.")
    return rope.get("rope_theta", published.get("rope_theta", 10_000.0))


def published(config: ModelConfig) -> dict[str, Any]:
    block = config.blocks[0]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": block.ffn.hidden,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": block.attention.num_heads,
        "num_key_value_heads": block.attention.num_kv_heads,
        "head_dim": block.attention.head_size,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "rms_norm_eps": block.norm.eps,
        "rope_theta": block.attention.rope_theta,
        "tie_word_embeddings": config.tied,
        "attention_bias": False,
        "mlp_bias": False,
    }


def tiny() -> ModelConfig:
    return config(
        {
            "vocab_size": 288, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
            "rms_norm_eps": 1e-5, "rope_theta": 10_000.0, "tie_word_embeddings": True,
        }
    )  # fmt: skip
