"""ModernBERT: an encoder with rotary positions, windows and gated parts. Paper: arXiv:2412.13663."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import (
    AttentionSpec,
    BlockSpec,
    FfnSpec,
    HeadSpec,
    ModelConfig,
    NormSpec,
    RopeSpec,
)
from mainspring.models.families import decoder
from mainspring.models.families.base import (
    Names,
    activation,
    activation_name,
    architecture,
    both,
    head_kind,
    head_size,
    labels,
    layers,
    num_labels,
    only,
)

ARCHITECTURES = {
    "ModernBertForMaskedLM": "masked",
    "ModernBertModel": "",
    "ModernBertForTokenClassification": "classify_tokens",
    "ModernBertForSequenceClassification": "classify",
}
LOCAL, FULL = "sliding_attention", "full_attention"
DENSE = {"head.dense.weight": "head.dense.weight", "head.norm.weight": "head.norm.weight"}
NAMES = Names(
    body={
        "embedding.weight": "embeddings.tok_embeddings.weight",
        "embedding_norm.weight": "embeddings.norm.weight",
        "final_norm.weight": "final_norm.weight",
        **layers(
            "layers.{i}.",
            {
                "mixer_norm.weight": "attn_norm.weight",
                ("mixer.q.weight", "mixer.k.weight", "mixer.v.weight"): "attn.Wqkv.weight",
                "mixer.o.weight": "attn.Wo.weight",
                "ffn_norm.weight": "mlp_norm.weight",
                ("ffn.gate.weight", "ffn.up.weight"): "mlp.Wi.weight",
                "ffn.down.weight": "mlp.Wo.weight",
            },
        ),
    },
    heads={
        "masked": {**DENSE, "head.bias": "decoder.bias"},
        "classify_tokens": {**DENSE, **both({"head.out": "classifier"})},
        "classify": {**DENSE, **both({"head.out": "classifier"})},
    },
    prefix="model.",
    unused=(r"^decoder\.weight$",),
)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, norm_bias=False, attention_bias=False, mlp_bias=False, classifier_bias=False)
    only(published, decoder_bias=True, tie_word_embeddings=True)
    count, every = published["num_hidden_layers"], published.get("global_attn_every_n_layers", 3)
    kinds = published.get("layer_types") or [LOCAL if layer % every else FULL for layer in range(count)]
    blocks = tuple(_block(published, kind, layer) for layer, kind in enumerate(kinds))
    return ModelConfig(
        family="modernbert",
        vocab_size=published["vocab_size"],
        width=published["hidden_size"],
        context=published["max_position_embeddings"],
        blocks=blocks,
        embedding_norm=blocks[0].norm,
        final_norm=blocks[0].norm,
        head=_head(published, blocks[0].norm),
        pooling=published.get("pooling", "mean"),
    )


def _block(published: Mapping[str, Any], kind: str, layer: int) -> BlockSpec:
    num_heads = published["num_attention_heads"]
    attention = AttentionSpec(
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_size=head_size(published["hidden_size"], num_heads),
        causal=False,
        rope=_rope(published, kind),
        window=published.get("local_attention", 128) if kind == LOCAL else None,
    )
    named = activation(published, "hidden_activation", "gelu")
    return BlockSpec(
        mixer=attention,
        ffn=FfnSpec(kind="glu", hidden=published["intermediate_size"], activation=named),
        norm=NormSpec(kind="layer", eps=published.get("norm_eps", 1e-5), bias=False),
        has_mixer_norm=layer > 0,
    )


def _rope(published: Mapping[str, Any], kind: str) -> RopeSpec:
    by_kind = published.get("rope_parameters")
    if by_kind:
        return decoder.rope(published, by_kind[kind])
    if kind == LOCAL:
        return RopeSpec(theta=published.get("local_rope_theta", 10_000.0))
    return RopeSpec(theta=published.get("global_rope_theta", 160_000.0))


def _head(published: Mapping[str, Any], norm: NormSpec) -> HeadSpec | None:
    kind = head_kind(published, ARCHITECTURES)
    if kind == "masked":
        dense = activation(published, "classifier_activation", "gelu")
        return HeadSpec(kind="masked", tied=True, bias=True, dense=dense, dense_bias=False, norm=norm)
    if not kind:
        return None
    return HeadSpec(
        kind="classify" if kind == "classify" else "classify_tokens",
        num_labels=num_labels(published),
        bias=True,
        dense=activation(published, "classifier_activation", "gelu"),
        dense_bias=False,
        norm=norm,
        pooling=published.get("classifier_pooling", "cls") if kind == "classify" else None,
    )


def published(config: ModelConfig) -> dict[str, Any]:
    block, head = config.blocks[0], config.head
    windows = [each.attention.window for each in config.blocks]
    ropes = {LOCAL if each.attention.window else FULL: each.attention.rope for each in config.blocks}
    return {
        "architectures": [architecture(config, ARCHITECTURES)],
        "model_type": "modernbert",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": block.dense.hidden,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": block.attention.num_heads,
        "hidden_activation": activation_name(block.dense.activation),
        "classifier_activation": activation_name(head.dense) if head and head.dense else "gelu",
        "classifier_pooling": (head.pooling if head else None) or "cls",
        "max_position_embeddings": config.context,
        "norm_eps": block.norm.eps,
        "local_attention": max((window for window in windows if window), default=128),
        "layer_types": [LOCAL if window else FULL for window in windows],
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": spec.theta} for kind, spec in ropes.items() if spec
        },
        "pooling": config.pooling,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
        **labels(config),
    }


def tiny() -> ModelConfig:
    return config(
        {
            "vocab_size": 288, "hidden_size": 64, "intermediate_size": 80, "num_hidden_layers": 4,
            "num_attention_heads": 4, "max_position_embeddings": 128, "local_attention": 8,
        }
    )  # fmt: skip
