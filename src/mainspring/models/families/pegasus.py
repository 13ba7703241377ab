"""Pegasus: BART with norms before its parts and sinusoidal positions. Paper: arXiv:1912.08777."""

from collections.abc import Mapping
from typing import Any

from mainspring.models.config import ModelConfig, PositionSpec, StackSpec
from mainspring.models.families import bart
from mainspring.models.families.base import Names, architecture, both

ARCHITECTURES = {"PegasusForConditionalGeneration": "lm", "PegasusModel": ""}
NAMES = Names(
    body={
        **bart.NAMES.body,
        **both({"final_norm": "decoder.layer_norm", "encoder.final_norm": "encoder.layer_norm"}),
    },
    heads=bart.NAMES.heads,
    prefix="model.",
    rows=bart.NAMES.rows,
    unused=(*bart.NAMES.unused, r"embed_positions\.weight$"),
)


OPPOSITE = ("normalize_before", "add_final_layer_norm", "normalize_embedding", "static_position_embeddings")
"""Keys that older files have, and that say of Pegasus what they deny of BART."""


def config(published: Mapping[str, Any]) -> ModelConfig:
    named = (published.get("architectures") or ["PegasusForConditionalGeneration"])[0]
    as_bart = {key: value for key, value in published.items() if key not in OPPOSITE}
    said = bart.config({**as_bart, "architectures": [named.replace("Pegasus", "Bart")]})
    assert said.encoder is not None, "Pegasus has an encoder"
    encoder = said.encoder.model_copy(update=_changes(said.encoder, said.context))
    return said.model_copy(update={"family": "pegasus", "encoder": encoder, **_changes(said, said.context)})


def _changes(stack: StackSpec, context: int) -> dict[str, Any]:
    return {
        "blocks": tuple(block.model_copy(update={"norm_place": "before"}) for block in stack.blocks),
        "positions": PositionSpec(kind="sinusoidal", size=context),
        "embedding_norm": None,
        "final_norm": bart.NORM,
    }


def published(config: ModelConfig) -> dict[str, Any]:
    return {
        **bart.published(config.model_copy(update={"family": "bart"})),
        "architectures": [architecture(config, ARCHITECTURES)],
        "model_type": "pegasus",
    }


def tiny() -> ModelConfig:
    return config({**bart.TINY, "activation_function": "relu"})
