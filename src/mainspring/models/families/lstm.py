"""An LSTM language model (arXiv:1602.02410): the baseline that shows why attention won, in a layout of our own."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import BlockSpec, HeadSpec, ModelConfig, NormSpec
from mainspring.models.families.base import Names, architecture, head_kind, layers
from mainspring.models.families.mamba2 import UNBOUNDED
from mainspring.models.mixer_specs import LstmSpec

ARCHITECTURES = {"LstmForCausalLM": "lm"}
NAMES = Names(
    body={
        "embedding.weight": "embedding.weight",
        **layers(
            "layers.{i}.",
            {
                f"mixer.cell.{kind}_{side}_l0": f"{kind}_{side}"
                for kind in ("weight", "bias")
                for side in ("ih", "hh")
            },
        ),
    },
    heads={"lm": {"head.out.weight": "head.weight", "head.out.bias": "head.bias", "head.bias": "head.bias"}},
)


def config(published: Mapping[str, Any]) -> ModelConfig:
    width = published["hidden_size"]
    block = BlockSpec(
        mixer=LstmSpec(hidden=width), ffn=None, norm=NormSpec(kind="layer", eps=1e-5), norm_place="nowhere"
    )
    tied = published.get("tie_word_embeddings", False)
    return ModelConfig(
        family="lstm",
        vocab_size=published["vocab_size"],
        width=width,
        context=UNBOUNDED,
        blocks=(block,) * published["num_hidden_layers"],
        head=HeadSpec(tied=tied, bias=True) if head_kind(published, ARCHITECTURES) else None,
    )


def published(config: ModelConfig) -> dict[str, Any]:
    return {
        "architectures": [architecture(config, ARCHITECTURES)],
        "model_type": "lstm",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "num_hidden_layers": config.num_layers,
        "tie_word_embeddings": config.head is not None and config.head.tied,
    }


def tiny() -> ModelConfig:
    return config({"vocab_size": 288, "hidden_size": 48, "num_hidden_layers": 2})
