"""Mixtral: Mistral whose feed-forward parts are mixtures of experts. Paper: arXiv:2401.04088."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import BlockSpec, ModelConfig, MoeSpec
from mainspring.models.families import decoder
from mainspring.models.families.base import Patterns, only
from mainspring.models.families.experts import checked, mixtures

ARCHITECTURES = decoder.architectures("Mixtral")
EXPERTS: Patterns = {
    "ffn.router.weight": "block_sparse_moe.gate.weight",
    "ffn.experts.{e}.gate.weight": "block_sparse_moe.experts.{e}.w1.weight",
    "ffn.experts.{e}.down.weight": "block_sparse_moe.experts.{e}.w2.weight",
    "ffn.experts.{e}.up.weight": "block_sparse_moe.experts.{e}.w3.weight",
}
NAMES = decoder.names(decoder.ATTENTION, EXPERTS, decoder.NORMS)
THETA = 1_000_000.0


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, router_jitter_noise=(0.0, None))
    published = {"rope_theta": THETA, **published}
    experts = MoeSpec(
        num_experts=published["num_local_experts"],
        num_chosen=published["num_experts_per_tok"],
        expert=decoder.glu(published),
        is_normalized=True,
    )
    block = BlockSpec(
        mixer=decoder.attention(published, window=published.get("sliding_window")),
        ffn=checked(experts),
        norm=decoder.rms(published),
    )
    return decoder.model(published, "mixtral", [block] * published["num_hidden_layers"], ARCHITECTURES)


def published(config: ModelConfig) -> dict[str, Any]:
    experts = mixtures(config)[0]
    return {
        **decoder.described(config, ARCHITECTURES),
        "sliding_window": config.blocks[0].attention.window,
        "num_local_experts": experts.num_experts,
        "num_experts_per_tok": experts.num_chosen,
        "router_jitter_noise": 0.0,
    }


def tiny() -> ModelConfig:
    return config(
        {
            **decoder.TINY, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8,
            "tie_word_embeddings": False,
        }
    )  # fmt: skip
