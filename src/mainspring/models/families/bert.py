"""BERT and those built like it (MiniLM), as encoders of text. Paper: arXiv:1810.04805."""

from collections.abc import Mapping
from typing import Any

from mainspring.errors import WeightsError
from mainspring.models.config import AttentionSpec, BlockSpec, FfnSpec, ModelConfig, NormSpec
from mainspring.models.families.base import Names

NAMES = Names(
    top={
        "embedding.weight": "embeddings.word_embeddings.weight",
        "positions.weight": "embeddings.position_embeddings.weight",
        "token_types.weight": "embeddings.token_type_embeddings.weight",
        "embedding_norm.weight": "embeddings.LayerNorm.weight",
        "embedding_norm.bias": "embeddings.LayerNorm.bias",
    },
    layer={
        f"{ours}.{kind}": f"encoder.layer.{{i}}.{published}.{kind}"
        for ours, published in {
            "attention.q": "attention.self.query",
            "attention.k": "attention.self.key",
            "attention.v": "attention.self.value",
            "attention.o": "attention.output.dense",
            "attention_norm": "attention.output.LayerNorm",
            "ffn.up": "intermediate.dense",
            "ffn.down": "output.dense",
            "ffn_norm": "output.LayerNorm",
        }.items()
        for kind in ("weight", "bias")
    },
    unused=("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"),
)
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu"}


def config(published: Mapping[str, Any]) -> ModelConfig:
    width, num_heads = published["hidden_size"], published["num_attention_heads"]
    activation = published.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise WeightsError(f"config.json has hidden_act '{activation}'; known are {', '.join(ACTIVATIONS)}.")
    if published.get("position_embedding_type", "absolute") != "absolute":
        raise WeightsError(
            f"config.json has position_embedding_type '{published['position_embedding_type']}'; "
            "only 'absolute' is read."
        )
    norm = NormSpec(kind="layer", eps=published.get("layer_norm_eps", 1e-12))
    block = BlockSpec(
        attention=AttentionSpec(
            num_heads=num_heads,
            num_kv_heads=num_heads,
            head_size=width // num_heads,
            bias=True,
            causal=False,
        ),
        ffn=FfnSpec(
            kind="mlp",
            hidden=published["intermediate_size"],
            activation=ACTIVATIONS[activation],  # type: ignore[arg-type]
            bias=True,
        ),
        norm=norm,
        norm_first=False,
    )
    return ModelConfig(
        family="bert",
        vocab_size=published["vocab_size"],
        width=width,
        context=published["max_position_embeddings"],
        blocks=(block,) * published["num_hidden_layers"],
        learned_positions=True,
        num_token_types=published.get("type_vocab_size", 2),
        embedding_norm=norm,
        has_head=False,
        pooling=published.get("pooling", "mean"),
    )


def published(config: ModelConfig) -> dict[str, Any]:
    block = config.blocks[0]
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": block.ffn.hidden,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": block.attention.num_heads,
        "hidden_act": {ours: theirs for theirs, ours in ACTIVATIONS.items()}[block.ffn.activation],
        "max_position_embeddings": config.context,
        "type_vocab_size": config.num_token_types,
        "layer_norm_eps": block.norm.eps,
        "position_embedding_type": "absolute",
        "pooling": config.pooling,
    }


def tiny() -> ModelConfig:
    return config(
        {
            "vocab_size": 288, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 128, "type_vocab_size": 2,
        }
    )  # fmt: skip
