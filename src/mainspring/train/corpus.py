"""What a model is to be pre-trained on, in numbers: how much text there is, and what is held out of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mainspring.data.shard_dataset import open_shards
from mainspring.errors import ConfigError
from mainspring.models.config import ModelConfig
from mainspring.models.load import understand
from mainspring.registry import Registry
from mainspring.train.recipe import Published, Recipe
from mainspring.train.sources.rows import Rows
from mainspring.train.sources.shards import Documents

VALIDATION = "validation"
MAX_VALIDATION_TOKENS = 2**18
"""Enough for a loss whose scatter is below that of two runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """`unique`: trained tokens of one pass over all datasets. `held`: (segments, tokens) of the validation split."""

    references: tuple[str, ...]
    unique: int
    vocab_size: int
    held: tuple[int, int] | None

    def config_of(self, published: Published) -> ModelConfig:
        """A model over this vocabulary."""
        return understand({"vocab_size": self.vocab_size, **published}, Path("`model`"))

    def validation(self) -> dict[str, Any] | None:
        """Settings of what is looked at without learning; at most so much that looking takes little."""
        if self.held is None:
            return None
        segments, tokens = self.held
        part = min(1.0, MAX_VALIDATION_TOKENS / tokens)
        num_items = 0 if part == 1 else max(1, int(segments * part))
        return {
            "kind": "documents", "dataset": self.references[0], "split": VALIDATION, "num_items": num_items
        }  # fmt: skip


def read_corpus(registry: Registry, recipe: Recipe) -> Corpus:
    """The corpus of a recipe that pre-trains a new model on rows.

    Raises:
        ConfigError: a recipe of another kind.

    """
    if not isinstance(recipe.data, Rows) or isinstance(recipe.model, str):
        raise ConfigError(
            "Size and length follow from a budget only where a new model learns rows of token shards. Use the preset "
            "'pretrain', with `data.kind=rows` and the values of a config.json as `model`."
        )
    references = tuple(recipe.data.parents(registry).values())
    shards = [open_shards(registry, registry.get(each), recipe.data.split) for each in references]
    splits = shards[0].manifest.splits
    has_held = VALIDATION in splits and recipe.data.split != VALIDATION
    held = (splits[VALIDATION].num_segments, splits[VALIDATION].num_tokens) if has_held else None
    return Corpus(
        references=references, unique=sum(each.trained_tokens for each in shards), held=held,
        vocab_size=max(each.manifest.vocab_size for each in shards),
    )  # fmt: skip


def row_length(recipe: Recipe, config: ModelConfig) -> int:
    """Ids of a row."""
    assert isinstance(recipe.data, Rows)
    return recipe.data.length or min(recipe.max_tokens, config.context)


def num_held(registry: Registry, recipe: Recipe) -> int:
    """Tokens of a recipe's validation, about; 0 without one."""
    found = recipe.validation
    if not isinstance(found, Documents):
        return 0
    shards = open_shards(registry, registry.get(found.dataset), found.split)
    share = min(1.0, found.num_items / shards.num_segments) if found.num_items else 1.0
    return int(shards.num_tokens * share)
