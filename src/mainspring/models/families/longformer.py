"""Longformer: RoBERTa for long texts, with windows and a first token that sees everything. Paper: arXiv:2004.05150.

The first token of a text is global, as for classification; question answering, where the question is, is not read.
"""

from collections.abc import Mapping
from typing import Any

from mainspring.errors import WeightsError
from mainspring.models.config import ModelConfig
from mainspring.models.families import bert, roberta
from mainspring.models.families.base import Names, architecture, both, layers, only
from mainspring.models.mixer_specs import LongformerSpec

ARCHITECTURES = {
    "LongformerModel": "",
    "LongformerForMaskedLM": "masked",
    "LongformerForTokenClassification": "classify_tokens",
    "LongformerForSequenceClassification": "classify",
}
GLOBAL = both(
    {
        "mixer.q_global": "attention.self.query_global",
        "mixer.k_global": "attention.self.key_global",
        "mixer.v_global": "attention.self.value_global",
    }
)
NAMES = Names(
    body={**bert.TOP, **layers("encoder.layer.{i}.", {**bert.LAYER, **GLOBAL})},
    heads=roberta.NAMES.heads,
    prefix="longformer.",
    unused=roberta.NAMES.unused,
)


def config(published: Mapping[str, Any]) -> ModelConfig:
    only(published, pad_token_id=1)
    dense = roberta.encoder(published, "longformer", ARCHITECTURES)
    windows, count = published["attention_window"], dense.num_layers
    windows = [windows] * count if isinstance(windows, int) else windows
    if len(windows) != count or any(window < 2 or window % 2 for window in windows):
        raise WeightsError(
            f"config.json has attention_window {published['attention_window']} for {count} layers; it must be an "
            "even number, or one for every layer."
        )
    blocks = [
        block.model_copy(
            update={
                "mixer": LongformerSpec(
                    num_heads=block.attention.num_heads, head_size=block.attention.head_size, window=window
                )
            }
        )
        for block, window in zip(dense.blocks, windows, strict=True)
    ]
    return dense.model_copy(update={"blocks": tuple(blocks)})


def published(config: ModelConfig) -> dict[str, Any]:
    mixers = [block.mixer for block in config.blocks if isinstance(block.mixer, LongformerSpec)]
    return {
        **bert.described(config, mixers[0].num_heads),
        "architectures": [architecture(config, ARCHITECTURES)],
        "max_position_embeddings": config.context + roberta.OFFSET,
        "pad_token_id": roberta.OFFSET - 1,
        "attention_window": [mixer.window for mixer in mixers],
    }


def tiny() -> ModelConfig:
    return config(
        {
            **bert.TINY,
            "max_position_embeddings": 130,
            "type_vocab_size": 1,
            "attention_window": [8, 4],
            "architectures": ["LongformerForMaskedLM"],
        }
    )
