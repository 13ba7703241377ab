"""The kinds of transforms that a recipe may name."""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from mainspring.adapt import lora
from mainspring.config import Config


class Full(Config):
    """All weights train."""

    kind: Literal["full"] = "full"

    def apply(self, model: nn.Module, *, seed: int, name: str) -> None:
        """Unfreeze every weight."""
        model.requires_grad_(True)


class Lora(lora.LoraConfig):
    """A low-rank adapter beside frozen weights."""

    kind: Literal["lora"] = "lora"

    def apply(self, model: nn.Module, *, seed: int, name: str) -> None:
        """Put it on and freeze the rest."""
        lora.add(model, self, name, seed=seed)


Transform = Annotated[Full | Lora, Field(discriminator="kind")]
