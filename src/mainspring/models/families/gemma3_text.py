"""Gemma 3, its text models: Gemma 2 with normalized heads and a rotary base of its own for windows.

Paper: arXiv:2503.19786.
"""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import BlockSpec, ModelConfig, RopeSpec
from mainspring.models.families import decoder, gemma2
from mainspring.models.families.base import only

ARCHITECTURES = {"Gemma3ForCausalLM": "lm", "Gemma3TextModel": ""}
NAMES = decoder.names(decoder.ATTENTION, decoder.HEAD_NORMS, decoder.GLU, gemma2.NORMS)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, attention_bias=False, use_bidirectional_attention=(False, None))
    norm = decoder.rms(published, unit_offset=True)
    attention = decoder.attention(
        {**published, "rope_parameters": None},
        softcap=published.get("attn_logit_softcapping"),
        scale=published.get("query_pre_attn_scalar", 256) ** -0.5,
        head_norm=norm,
    )
    kinds = {
        gemma2.LOCAL: {"rope": _rope(published, gemma2.LOCAL), "window": published["sliding_window"]},
        gemma2.FULL: {"rope": _rope(published, gemma2.FULL)},
    }
    blocks = [
        BlockSpec(
            mixer=attention.model_copy(update=kinds[kind]),
            ffn=decoder.glu(published, "hidden_activation"),
            norm=norm,
            norm_place="around",
        )
        for kind in gemma2.layer_types(published, every=published.get("sliding_window_pattern", 6))
    ]
    return decoder.model(published, "gemma3_text", blocks, ARCHITECTURES, **gemma2.gemma_top(published))


def _rope(published: Mapping[str, Any], kind: str) -> RopeSpec:
    """Newer files have rotary positions by kind of layer, older ones two bases, and scale the full ones."""
    by_kind = published.get("rope_parameters")
    if by_kind:
        return decoder.rope(published, by_kind[kind])
    if kind == gemma2.LOCAL:
        return RopeSpec(theta=published.get("rope_local_base_freq", 10_000.0))
    theta = published.get("rope_theta", 1_000_000.0)
    return decoder.rope(published, {**(published.get("rope_scaling") or {}), "rope_theta": theta})


def published(config: ModelConfig) -> dict[str, Any]:
    values = gemma2.described_gemma(config, ARCHITECTURES)
    ropes = {bool(block.attention.window): block.attention.rope for block in config.blocks}
    for key in ("rope_theta", "rope_scaling"):
        values.pop(key, None)
    both = {gemma2.LOCAL: ropes.get(True), gemma2.FULL: ropes.get(False)}
    return {
        **values,
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": spec.theta}
            | (decoder.scaling_keys(spec.scaling) if spec.scaling else {})
            for kind, spec in both.items()
            if spec is not None
        },
        "attn_logit_softcapping": config.blocks[0].attention.softcap,
    }


def tiny() -> ModelConfig:
    return config(
        {
            **decoder.TINY, "num_hidden_layers": 3, "head_dim": 16, "query_pre_attn_scalar": 16,
            "sliding_window": 8, "sliding_window_pattern": 3, "hidden_activation": "gelu_pytorch_tanh",
            "rope_theta": 1_000_000.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        }
    )  # fmt: skip
