"""T5 and T5 1.1: an encoder and a decoder with a learnt bias by distance. Paper: arXiv:1910.10683."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import (
    AttentionSpec,
    BlockSpec,
    FfnSpec,
    HeadSpec,
    ModelConfig,
    NormSpec,
    RelativeSpec,
    StackSpec,
)
from mainspring.models.families.base import Names, Patterns, activation, architecture, head_kind, layers

ARCHITECTURES = {"T5ForConditionalGeneration": "lm", "T5Model": ""}
ATTENTION = ("q", "k", "v", "o")
GATED = {"gate": "wi_0", "up": "wi_1", "down": "wo"}
PLAIN = {"up": "wi", "down": "wo"}
CONTEXT = 4096  # positions are distances, so nothing bounds them; what one pass is asked to hold


def names(config: ModelConfig) -> Names:
    """Gated and plain feed-forward parts have other names."""
    parts = GATED if config.blocks[0].dense.kind == "glu" else PLAIN
    return Names(
        body={
            "embedding.weight": "shared.weight",
            **_stack("", "decoder", {"mixer": "SelfAttention", "cross": "EncDecAttention"}, parts),
            **_stack("encoder.", "encoder", {"mixer": "SelfAttention"}, parts),
        },
        heads={"lm": {"head.out.weight": "lm_head.weight"}},
        unused=(
            r"^(encoder|decoder)\.embed_tokens\.weight$",
            r"EncDecAttention\.relative_attention_bias",
            r"^lm_head\.weight$",
        ),
    )


def _stack(ours: str, theirs: str, mixers: Mapping[str, str], parts: Mapping[str, str]) -> Patterns:
    """A block's parts are numbered layers of their own, each with its norm."""
    layer: dict[str | tuple[str, ...], str] = {
        f"{mixer}.{each}.weight": f"layer.{number}.{published}.{each}.weight"
        for number, (mixer, published) in enumerate(mixers.items())
        for each in ATTENTION
    }
    last = len(mixers)
    layer |= {
        f"ffn.{each}.weight": f"layer.{last}.DenseReluDense.{name}.weight" for each, name in parts.items()
    }
    layer |= {
        f"{part}_norm.weight": f"layer.{number}.layer_norm.weight"
        for number, part in enumerate([*mixers, "ffn"])
    }
    return {
        **layers(f"{theirs}.block.{{i}}.", layer, f"{ours}blocks.{{i}}."),
        f"{ours}relative.weight": f"{theirs}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        f"{ours}final_norm.weight": f"{theirs}.final_layer_norm.weight",
    }


def config(published: Mapping[str, Any]) -> ModelConfig:
    decoder_layers = published.get("num_decoder_layers") or published["num_layers"]
    tied = published.get("tie_word_embeddings", True)
    scale = published["d_model"] ** -0.5 if tied else 1.0
    decoder = _spec(published, decoder_layers, causal=True)
    return ModelConfig(
        **{name: getattr(decoder, name) for name in StackSpec.model_fields},
        family="t5",
        vocab_size=published["vocab_size"],
        width=published["d_model"],
        context=CONTEXT,
        encoder=_spec(published, published["num_layers"], causal=False),
        head=HeadSpec(tied=tied, scale=scale) if head_kind(published, ARCHITECTURES) else None,
    )


def _spec(published: Mapping[str, Any], num_layers: int, *, causal: bool) -> StackSpec:
    num_heads = published["num_heads"]
    attention = AttentionSpec(
        num_heads=num_heads, num_kv_heads=num_heads, head_size=published["d_kv"], causal=causal, scale=1.0
    )
    said = published.get("feed_forward_proj", "relu")
    is_gated = said.startswith("gated-")
    named = "gelu_new" if said == "gated-gelu" else said.removeprefix("gated-")  # as its checkpoints mean it
    norm = NormSpec(kind="rms", eps=published.get("layer_norm_epsilon", 1e-6))
    block = BlockSpec(
        mixer=attention,
        cross=attention.model_copy(update={"causal": False}) if causal else None,
        ffn=FfnSpec(
            kind="glu" if is_gated else "mlp",
            hidden=published["d_ff"],
            activation=activation({"feed_forward_proj": named}, "feed_forward_proj"),
        ),
        norm=norm,
    )
    relative = RelativeSpec(
        num_heads=num_heads,
        num_buckets=published.get("relative_attention_num_buckets", 32),
        max_distance=published.get("relative_attention_max_distance", 128),
        causal=causal,
    )
    return StackSpec(blocks=(block,) * num_layers, relative=relative, final_norm=norm)


def published(config: ModelConfig) -> dict[str, Any]:
    block, relative, encoder = config.blocks[0], config.relative, config.encoder
    assert relative is not None, "T5 has a bias by distance"
    assert encoder is not None, "T5 has an encoder"
    named = {"gelu_tanh": "gelu"}.get(block.dense.activation, block.dense.activation)
    return {
        "architectures": [architecture(config, ARCHITECTURES)],
        "model_type": "t5",
        "vocab_size": config.vocab_size,
        "d_model": config.width,
        "d_kv": block.attention.head_size,
        "d_ff": block.dense.hidden,
        "num_layers": encoder.num_layers,
        "num_decoder_layers": config.num_layers,
        "num_heads": block.attention.num_heads,
        "relative_attention_num_buckets": relative.num_buckets,
        "relative_attention_max_distance": relative.max_distance,
        "layer_norm_epsilon": block.norm.eps,
        "feed_forward_proj": f"gated-{named}" if block.dense.kind == "glu" else named,
        "tie_word_embeddings": config.head is None or config.head.tied,
        "is_encoder_decoder": True,
    }


def tiny() -> ModelConfig:
    return config(
        {
            "vocab_size": 288, "d_model": 64, "d_kv": 24, "d_ff": 96, "num_layers": 2, "num_heads": 4,
            "num_decoder_layers": 3, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 16,
        }
    )  # fmt: skip
