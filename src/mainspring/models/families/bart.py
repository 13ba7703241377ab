"""BART: an encoder and a decoder with norms behind the sums. Paper: arXiv:1910.13461."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import (
    AttentionSpec,
    BlockSpec,
    FfnSpec,
    HeadSpec,
    ModelConfig,
    NormSpec,
    PositionSpec,
    StackSpec,
)
from mainspring.models.families.base import (
    Names,
    activation,
    activation_name,
    architecture,
    both,
    head_kind,
    head_size,
    layers,
    only,
)

ARCHITECTURES = {"BartForConditionalGeneration": "lm", "BartModel": ""}
OFFSET = 2  # the first rows of the table of positions are not used
NORM = NormSpec(kind="layer", eps=1e-5)
ATTENTION = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "out_proj"}
FFN = {
    "ffn.up": "fc1",
    "ffn.down": "fc2",
    "ffn_norm": "final_layer_norm",
    "mixer_norm": "self_attn_layer_norm",
}
SELF = {f"mixer.{ours}": f"self_attn.{theirs}" for ours, theirs in ATTENTION.items()}
CROSS = {f"cross.{ours}": f"encoder_attn.{theirs}" for ours, theirs in ATTENTION.items()}


def _stack(ours: str, theirs: str, layer: Mapping[str, str]) -> dict[str | tuple[str, ...], str]:
    return {
        **layers(f"{theirs}.layers.{{i}}.", both(layer), f"{ours}blocks.{{i}}."),
        f"{ours}positions.weight": f"{theirs}.embed_positions.weight",
        **both({f"{ours}embedding_norm": f"{theirs}.layernorm_embedding"}),
    }


NAMES = Names(
    body={
        "embedding.weight": "shared.weight",
        **_stack("", "decoder", {**SELF, **CROSS, **FFN, "cross_norm": "encoder_attn_layer_norm"}),
        **_stack("encoder.", "encoder", {**SELF, **FFN}),
    },
    heads={"lm": {"head.bias": "final_logits_bias"}},
    prefix="model.",
    rows=("final_logits_bias",),
    unused=(r"(encoder|decoder)\.embed_tokens\.weight$", r"^lm_head\.weight$"),
)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, add_bias_logits=False, normalize_before=False, add_final_layer_norm=False)
    only(published, normalize_embedding=True, static_position_embeddings=False, tie_word_embeddings=True)
    decoder = _spec(published, "decoder", causal=True)
    return ModelConfig(
        **{name: getattr(decoder, name) for name in StackSpec.model_fields},
        family="bart",
        vocab_size=published["vocab_size"],
        width=published["d_model"],
        context=published["max_position_embeddings"],
        encoder=_spec(published, "encoder", causal=False),
        head=HeadSpec(tied=True, bias=True) if head_kind(published, ARCHITECTURES) else None,
    )


def _spec(published: Mapping[str, Any], side: str, *, causal: bool) -> StackSpec:
    width, num_heads = published["d_model"], published[f"{side}_attention_heads"]
    attention = AttentionSpec(
        num_heads=num_heads, num_kv_heads=num_heads, head_size=head_size(width, num_heads), causal=causal,
        bias=True, out_bias=True,
    )  # fmt: skip
    block = BlockSpec(
        mixer=attention,
        cross=attention.model_copy(update={"causal": False}) if causal else None,
        ffn=FfnSpec(
            kind="mlp",
            hidden=published[f"{side}_ffn_dim"],
            activation=activation(published, "activation_function", "gelu"),
            bias=True,
        ),
        norm=NORM,
        norm_place="behind",
    )
    return StackSpec(
        blocks=(block,) * published[f"{side}_layers"],
        positions=PositionSpec(size=published["max_position_embeddings"] + OFFSET, offset=OFFSET),
        embedding_scale=width**0.5 if published.get("scale_embedding") else 1.0,
        embedding_norm=NORM,
    )


def published(config: ModelConfig) -> dict[str, Any]:
    assert config.encoder is not None, "BART has an encoder"
    values: dict[str, Any] = {
        "architectures": [architecture(config, ARCHITECTURES)],
        "model_type": "bart",
        "vocab_size": config.vocab_size,
        "d_model": config.width,
        "max_position_embeddings": config.context,
        "scale_embedding": config.embedding_scale != 1.0,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
    }
    for side, stack in (("decoder", config), ("encoder", config.encoder)):
        ffn = stack.blocks[0].dense
        values |= {
            f"{side}_layers": stack.num_layers,
            f"{side}_attention_heads": stack.blocks[0].attention.num_heads,
            f"{side}_ffn_dim": ffn.hidden,
            "activation_function": activation_name(ffn.activation),
        }
    return values


TINY = {
    "vocab_size": 288, "d_model": 64, "max_position_embeddings": 128, "encoder_layers": 2,
    "decoder_layers": 3, "encoder_attention_heads": 4, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 96, "decoder_ffn_dim": 80, "scale_embedding": True,
}  # fmt: skip


def tiny() -> ModelConfig:
    return config(TINY)
