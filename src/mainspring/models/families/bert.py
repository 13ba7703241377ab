"""BERT and those built like it (MiniLM), as encoders of text. Paper: arXiv:1810.04805."""

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
)
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
    "BertModel": "",
    "BertForMaskedLM": "masked",
    "BertForTokenClassification": "classify_tokens",
    "BertForSequenceClassification": "classify",
}
LAYER = both(
    {
        "mixer.q": "attention.self.query",
        "mixer.k": "attention.self.key",
        "mixer.v": "attention.self.value",
        "mixer.o": "attention.output.dense",
        "mixer_norm": "attention.output.LayerNorm",
        "ffn.up": "intermediate.dense",
        "ffn.down": "output.dense",
        "ffn_norm": "output.LayerNorm",
    }
)
TOP = {
    "embedding.weight": "embeddings.word_embeddings.weight",
    "positions.weight": "embeddings.position_embeddings.weight",
    "token_types.weight": "embeddings.token_type_embeddings.weight",
    **both({"embedding_norm": "embeddings.LayerNorm"}),
}
NAMES = Names(
    body={**TOP, **layers("encoder.layer.{i}.", LAYER)},
    heads={
        "masked": {
            **both({"head.dense": "cls.predictions.transform.dense"}),
            **both({"head.norm": "cls.predictions.transform.LayerNorm"}),
            "head.bias": "cls.predictions.bias",
        },
        "classify_tokens": both({"head.out": "classifier"}),
        "classify": both({"head.dense": "bert.pooler.dense", "head.out": "classifier"}),
    },
    prefix="bert.",
    unused=(r"embeddings\.position_ids$", r"pooler\.dense\.", r"^cls\."),
)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, position_embedding_type="absolute", is_decoder=False)
    context = published["max_position_embeddings"]
    head = encoder_head(published, encoder_block(published), head_kind(published, ARCHITECTURES))
    return encoder(published, "bert", PositionSpec(size=context), context, head)


def encoder(
    published: Mapping[str, Any], family: str, positions: PositionSpec, context: int, head: HeadSpec | None
) -> ModelConfig:
    """The whole encoder, as BERT and RoBERTa have it."""
    block = encoder_block(published)
    return ModelConfig(
        family=family,
        vocab_size=published["vocab_size"],
        width=published["hidden_size"],
        context=context,
        blocks=(block,) * published["num_hidden_layers"],
        positions=positions,
        num_token_types=published.get("type_vocab_size", 2),
        embedding_norm=block.norm,
        head=head,
        pooling=published.get("pooling", "mean"),
    )


def encoder_block(published: Mapping[str, Any]) -> BlockSpec:
    """A layer as BERT and RoBERTa have it: attention both ways, norms behind the sums."""
    width, num_heads = published["hidden_size"], published["num_attention_heads"]
    mixer = AttentionSpec(
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_size=head_size(width, num_heads),
        bias=True,
        out_bias=True,
        causal=False,
    )
    hidden = published["intermediate_size"]
    return BlockSpec(
        mixer=mixer,
        ffn=FfnSpec(
            kind="mlp", hidden=hidden, activation=activation(published, "hidden_act", "gelu"), bias=True
        ),
        norm=NormSpec(kind="layer", eps=published.get("layer_norm_eps", 1e-12)),
        norm_place="behind",
    )


def encoder_head(published: Mapping[str, Any], block: BlockSpec, kind: str) -> HeadSpec | None:
    """The head that predicts masked tokens, labels of tokens, or the label of a text."""
    if kind == "masked":
        return HeadSpec(kind="masked", tied=True, bias=True, dense=block.dense.activation, norm=block.norm)
    if kind == "classify_tokens":
        return HeadSpec(kind="classify_tokens", num_labels=num_labels(published), bias=True)
    if kind == "classify":
        count = num_labels(published)
        return HeadSpec(kind="classify", num_labels=count, dense="tanh", bias=True, pooling="cls")
    return None


def published(config: ModelConfig) -> dict[str, Any]:
    num_heads = config.blocks[0].attention.num_heads
    return {**described(config, num_heads), "architectures": [architecture(config, ARCHITECTURES)]}


def described(config: ModelConfig, num_heads: int) -> dict[str, Any]:
    """The keys of config.json that BERT, RoBERTa and Longformer share."""
    block = config.blocks[0]
    return {
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": block.dense.hidden,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": num_heads,
        "hidden_act": activation_name(block.dense.activation),
        "max_position_embeddings": config.context,
        "type_vocab_size": config.num_token_types,
        "layer_norm_eps": block.norm.eps,
        "position_embedding_type": "absolute",
        "pooling": config.pooling,
        **labels(config),
    }


TINY = {
    "vocab_size": 288, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 128, "type_vocab_size": 2,
}  # fmt: skip


def tiny() -> ModelConfig:
    return config(TINY)
