"""Elastic weight consolidation: what mattered for what was learnt before moves little."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, PrivateAttr
from torch import nn

from mainspring.artifact import sha256_of
from mainspring.errors import ConfigError
from mainspring.train.fisher import Anchor, load_anchor
from mainspring.train.objectives.base import WeightPenalty


class Ewc(WeightPenalty):
    """Half the sum of Fisher information * (weight - what it was)^2. Paper: arXiv:1612.00796, eq. 3.

    Weights that the anchor does not name move freely.
    """

    kind: Literal["ewc"] = "ewc"
    coefficient: float = Field(default=1000.0, gt=0, description="lambda: worth of what was learnt before")
    anchor: Path = Field(description="the file of weights and their Fisher information")
    _read: Anchor | None = PrivateAttr(default=None)

    def fingerprint(self) -> dict[str, Any]:
        """The anchor by its content, wherever it lies."""
        try:
            return {**super().fingerprint(), "anchor": sha256_of(self.anchor)}
        except OSError as error:
            raise ConfigError(
                f"{self.anchor} cannot be read: {error}. Give the anchor.safetensors that a run with `fisher` wrote."
            ) from error

    def of_weights(self, parameters: Mapping[str, nn.Parameter]) -> torch.Tensor:
        """The penalty before its coefficient."""
        self._read = anchor = self._read or load_anchor(self.anchor)
        names = [name for name in parameters if name in anchor.fisher]
        if not names:
            raise ConfigError(
                f"{self.anchor} anchors {', '.join(list(anchor.fisher)[:3])}, ..., none of which trains. Train the "
                "weights that it was made of."
            )
        total = torch.zeros((), dtype=parameters[names[0]].dtype)
        for name in names:
            weight, fisher = parameters[name], anchor.fisher[name]
            if fisher.shape != weight.shape:
                raise ConfigError(
                    f"{self.anchor} has {tuple(fisher.shape)} for {name}, the model {tuple(weight.shape)}: it is of "
                    "another model."
                )
            moved = weight - anchor.weights[name].to(weight.dtype)
            total = total + (fisher.to(weight.dtype) * moved.square()).sum() / 2
        return total
