"""Which of a model's own weights train: all of them, or those that patterns leave."""

import fnmatch
from typing import Literal

from pydantic import Field
from torch import nn

from mainspring.config import Config
from mainspring.errors import ConfigError


class Full(Config):
    """All weights train."""

    kind: Literal["full"] = "full"

    def apply(self, model: nn.Module, *, seed: int, name: str = "default") -> None:
        """Unfreeze every weight."""
        model.requires_grad_(True)


class Freeze(Config):
    """All weights train but those that a pattern names."""

    kind: Literal["freeze"] = "freeze"
    frozen: tuple[str, ...] = Field(
        min_length=1, description='patterns of names, such as "blocks.0.*", that stay'
    )
    kept: tuple[str, ...] = Field(default=(), description="patterns of those among them that train after all")

    def apply(self, model: nn.Module, *, seed: int, name: str = "default") -> None:
        """Freeze and unfreeze.

        Raises:
            ConfigError: a pattern that names nothing, or nothing left to train.

        """
        names = [each for each, _ in model.named_parameters()]
        for pattern in (*self.frozen, *self.kept):
            if not fnmatch.filter(names, pattern):
                raise ConfigError(
                    f"The pattern '{pattern}' names no weight; the model has {names[0]}, {names[1]} ... {names[-1]}."
                )
        frozen = {each for pattern in self.frozen for each in fnmatch.filter(names, pattern)}
        frozen -= {each for pattern in self.kept for each in fnmatch.filter(names, pattern)}
        if len(frozen) == len(names):
            raise ConfigError(
                f"`frozen` {list(self.frozen)} leaves no weight to train. Name fewer, or `kept` ones."
            )
        for each, parameter in model.named_parameters():
            parameter.requires_grad_(each not in frozen)
