"""Gemma 2: windows in every other layer, bent scores, norms around every part. Paper: arXiv:2408.00118."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import BlockSpec, HeadSpec, ModelConfig
from mainspring.models.families import decoder
from mainspring.models.families.base import Patterns, activation_name, head_kind, only

ARCHITECTURES = {"Gemma2ForCausalLM": "lm", "Gemma2Model": ""}
NORMS: Patterns = {
    "mixer_norm.weight": "input_layernorm.weight",
    "mixer_out_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "ffn_out_norm.weight": "post_feedforward_layernorm.weight",
}
NAMES = decoder.names(decoder.ATTENTION, decoder.GLU, NORMS)
LOCAL, FULL = "sliding_attention", "full_attention"


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, attention_bias=False, use_bidirectional_attention=(False, None))
    attention = decoder.attention(
        published,
        softcap=published.get("attn_logit_softcapping"),
        scale=published.get("query_pre_attn_scalar", 256) ** -0.5,
    )
    blocks = [
        BlockSpec(
            mixer=attention.model_copy(
                update={"window": published["sliding_window"] if kind == LOCAL else None}
            ),
            ffn=decoder.glu(published, "hidden_activation"),
            norm=decoder.rms(published, unit_offset=True),
            norm_place="around",
        )
        for kind in layer_types(published, every=2)
    ]
    return decoder.model(published, "gemma2", blocks, ARCHITECTURES, **gemma_top(published))


def layer_types(published: Mapping[str, Any], every: int) -> list[str]:
    """The kind of every layer; older files leave it out, and every n-th is a full one."""
    count = published["num_hidden_layers"]
    said = published.get("layer_types")
    return said or [LOCAL if (layer + 1) % every else FULL for layer in range(count)]


def gemma_top(published: Mapping[str, Any]) -> dict[str, Any]:
    """What Gemma does before and behind its layers; its files say nothing of the head's being tied."""
    tied = published.get("tie_word_embeddings", True)
    head = HeadSpec(tied=tied, softcap=published.get("final_logit_softcapping"))
    has_head = head_kind(published, {**ARCHITECTURES, "Gemma3ForCausalLM": "lm", "Gemma3TextModel": ""})
    return {"embedding_scale": published["hidden_size"] ** 0.5, "head": head if has_head else None}


def published(config: ModelConfig) -> dict[str, Any]:
    return {
        **described_gemma(config, ARCHITECTURES),
        "attn_logit_softcapping": config.blocks[0].attention.softcap,
    }


def described_gemma(config: ModelConfig, known: Mapping[str, str]) -> dict[str, Any]:
    """The keys that Gemma 2 and 3 share."""
    values = decoder.described(config, known)
    scale, head = config.blocks[0].attention.scale, config.head
    assert scale is not None, "Gemma tells its scale"
    ffn = config.blocks[0].dense
    del values["hidden_act"]
    windows = [block.attention.window for block in config.blocks]
    return {
        **values,
        "hidden_activation": "gelu_pytorch_tanh"
        if ffn.activation == "gelu_tanh"
        else activation_name(ffn.activation),
        "query_pre_attn_scalar": round(scale**-2),
        "sliding_window": max((window for window in windows if window), default=4096),
        "layer_types": [LOCAL if window else FULL for window in windows],
        "final_logit_softcapping": head.softcap if head else None,
    }


def tiny() -> ModelConfig:
    return config(
        {
            **decoder.TINY, "head_dim": 16, "query_pre_attn_scalar": 24, "sliding_window": 8,
            "hidden_activation": "gelu_pytorch_tanh", "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 3.0,
        }
    )  # fmt: skip
