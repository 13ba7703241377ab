"""What a training run is made of, as one record: model, data, objective, transform, plan."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pydantic
from pydantic import Field

from mainspring.adapt.kinds import Full, Transform
from mainspring.config import Config, load
from mainspring.errors import ConfigError
from mainspring.models.config import Pooling
from mainspring.models.model import Model
from mainspring.models.rehead import HeadKind, with_head
from mainspring.registry import Registry
from mainspring.train.config import TrainConfig
from mainspring.train.fisher import FisherConfig
from mainspring.train.objectives.kinds import ObjectiveKind, PenaltyKind
from mainspring.train.objectives.sft import Sft
from mainspring.train.rollout_recipe import RolloutRecipe
from mainspring.train.sources.kinds import ItemSourceKind, SourceKind
from mainspring.train.trackers import Tracker

Published = dict[str, Any]


class HeadConfig(Config):
    """Another head on the model's body."""

    kind: HeadKind = Field(description="of the head; none: hidden states, made one vector by `pooling`")
    num_labels: int = Field(default=0, ge=0, description="of a classifying head; 1 for a score or a reward")
    pooling: Pooling | None = Field(
        default=None,
        description="how a text's hidden states become one vector, of kind none; of kind classify the family says it, "
        "and other ways are refused but for ModernBERT's cls and mean",
    )

    @pydantic.model_validator(mode="after")
    def _has_labels_to_score(self) -> Self:
        if self.num_labels and not self.kind.startswith("classify"):
            raise ValueError(
                f"`num_labels` is {self.num_labels}, but a head of kind '{self.kind}' has no labels; set `kind` to "
                "classify or classify_tokens, or leave it out"
            )
        return self

    def put_on(self, model: Model, seed: int) -> Model:
        """The model with this head."""
        return with_head(model, self.kind, num_labels=self.num_labels, pooling=self.pooling, seed=seed)


class Recipe(Config):
    """A training run; presets are recipes with most of it said."""

    name: str = Field(default="trained", description="of the adapter or model that comes out")
    model: str | Published = Field(
        description="what is trained: a reference, or the values of a config.json for a model that has learnt nothing"
    )
    tokenizer: str = Field(
        default="", description="of a new model; empty: the one that the data were made with"
    )
    head: HeadConfig | None = Field(
        default=None, description="another head on it; none keeps the model's own"
    )
    data: SourceKind = Field(description="what is learnt from")
    validation: ItemSourceKind | None = Field(default=None, description="what is looked at without learning")
    validation_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="part of the data's items that is kept for validation instead"
    )
    max_tokens: int = Field(
        default=2048, ge=2, description="ids of a segment at most, the model's context at most"
    )
    rollout: RolloutRecipe | None = Field(
        default=None, description="how prompts are answered and judged, where the data are prompts"
    )
    objective: ObjectiveKind = Field(default=Sft(), description="towards what")
    penalties: tuple[PenaltyKind, ...] = Field(default=(), description="what is added to the loss")
    teacher: str = Field(
        default="", description="the model that is imitated (distill); of the same vocabulary"
    )
    transform: Transform = Field(default=Full(), description="what of the model trains")
    fisher: FisherConfig | None = Field(
        default=None, description="estimate afterwards how much each weight matters, for a later run's `ewc`"
    )
    train: TrainConfig = Field(default=TrainConfig(), description="the run")
    tracker: Tracker | None = Field(default=None, description="another program that is told of every step")

    def pinned(self, registry: Registry) -> "Recipe":
        """With the versions that its names stand for now: what a run is resumed and repeated by."""
        model = registry.get(self.model).reference if isinstance(self.model, str) else self.model
        found: dict[str, Any] = {"model": model, "data": self.data.pinned(registry)}
        if self.teacher:
            found["teacher"] = registry.get(self.teacher).reference
        if self.validation is not None:
            found["validation"] = self.validation.pinned(registry)
        return self.model_copy(update=found)


PRESETS = Path(__file__).parent / "presets"
FEEDBACK = "feedback"


def presets() -> list[str]:
    """Names of the recipes that come with Mainspring."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_recipe(preset: str, files: Sequence[Path] = (), settings: Sequence[str] = ()) -> Recipe:
    """A preset, over it `files` (later ones win), over these `settings` such as "train.optim.lr=0.001".

    Raises:
        ConfigError: an unknown preset, key or value.

    """
    if preset not in presets():
        raise ConfigError(f"There is no preset '{preset}'; there is {', '.join(presets())}.")
    return load(Recipe, [PRESETS / f"{preset}.yaml", *files], settings)
