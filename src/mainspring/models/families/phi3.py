"""Phi-3: Llama with one matrix for queries, keys and values and one for gate and up. Paper: arXiv:2404.14219."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import BlockSpec, ModelConfig
from mainspring.models.families import decoder
from mainspring.models.families.base import only

ARCHITECTURES = decoder.architectures("Phi3")
FUSED = {
    ("mixer.q.weight", "mixer.k.weight", "mixer.v.weight"): "self_attn.qkv_proj.weight",
    "mixer.o.weight": "self_attn.o_proj.weight",
    ("ffn.gate.weight", "ffn.up.weight"): "mlp.gate_up_proj.weight",
    "ffn.down.weight": "mlp.down_proj.weight",
}
NAMES = decoder.names(FUSED, decoder.NORMS)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, attention_bias=False)
    block = BlockSpec(
        mixer=decoder.attention(published, window=published.get("sliding_window")),
        ffn=decoder.glu(published),
        norm=decoder.rms(published),
    )
    return decoder.model(published, "phi3", [block] * published["num_hidden_layers"], ARCHITECTURES)


def published(config: ModelConfig) -> dict[str, Any]:
    values = decoder.described(config, ARCHITECTURES)
    return {**values, "sliding_window": config.blocks[0].attention.window, "pad_token_id": None}


def tiny() -> ModelConfig:
    return config({**decoder.TINY, "partial_rotary_factor": 0.5, "sliding_window": 12})
