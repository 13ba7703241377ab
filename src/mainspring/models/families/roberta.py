"""RoBERTa: BERT with other names, other heads and positions counted from two. Paper: arXiv:1907.11692."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import HeadSpec, ModelConfig, PositionSpec
from mainspring.models.families import bert
from mainspring.models.families.base import Names, architecture, both, head_kind, layers, num_labels, only

ARCHITECTURES = {
    "RobertaModel": "",
    "RobertaForMaskedLM": "masked",
    "RobertaForTokenClassification": "classify_tokens",
    "RobertaForSequenceClassification": "classify",
}
OFFSET = 2  # the first rows of the table of positions are padding's
NAMES = Names(
    body={**bert.TOP, **layers("encoder.layer.{i}.", bert.LAYER)},
    heads={
        "masked": {
            **both({"head.dense": "lm_head.dense", "head.norm": "lm_head.layer_norm"}),
            "head.bias": "lm_head.bias",
        },
        "classify_tokens": both({"head.out": "classifier"}),
        "classify": both({"head.dense": "classifier.dense", "head.out": "classifier.out_proj"}),
    },
    prefix="roberta.",
    unused=(r"embeddings\.position_ids$", r"pooler\.dense\.", r"^lm_head\.decoder\."),
)


def config(published: Mapping[str, Any]) -> ModelConfig:
    return encoder(published, "roberta", ARCHITECTURES)


def encoder(published: Mapping[str, Any], family: str, known: Mapping[str, str]) -> ModelConfig:
    """The whole encoder, as RoBERTa and Longformer have it."""
    only(published, position_embedding_type="absolute", is_decoder=False)
    rows = published["max_position_embeddings"]
    kind = head_kind(published, known)
    if kind == "classify":
        count = num_labels(published)
        head = HeadSpec(kind="classify", num_labels=count, dense="tanh", bias=True, pooling="cls")
    else:
        head = bert.encoder_head(published, bert.encoder_block(published), kind)
    return bert.encoder(published, family, PositionSpec(size=rows, offset=OFFSET), rows - OFFSET, head)


def published(config: ModelConfig) -> dict[str, Any]:
    return {
        **bert.described(config, config.blocks[0].attention.num_heads),
        "architectures": [architecture(config, ARCHITECTURES)],
        "max_position_embeddings": config.context + OFFSET,
        "pad_token_id": 1,
    }


def tiny() -> ModelConfig:
    return config(
        {
            **bert.TINY,
            "max_position_embeddings": 130,
            "type_vocab_size": 1,
            "architectures": ["RobertaForMaskedLM"],
        }
    )
