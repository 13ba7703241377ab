"""Adagrad. Source: Duchi, Hazan, Singer, Adaptive Subgradient Methods (JMLR 12, 2011), figure 1, diagonal."""

from typing import Literal

import torch
from pydantic import Field

from mainspring.train.optim.base import Optimizer, Parameters, can_fuse


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of all their squares so far."""

    kind: Literal["adagrad"] = "adagrad"
    lr: float = Field(default=1e-2, gt=0, description="highest learning rate")
    eps: float = Field(default=1e-10, gt=0, description="added to the divisor")
    start: float = Field(default=0.0, ge=0, description="what the sum of squares begins with")

    @property
    def state_keys(self) -> tuple[str, ...]:
        return ("step", "sum")

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        return torch.optim.Adagrad(
            self.grouped(parameters), lr=self.lr, eps=self.eps, initial_accumulator_value=self.start,
            fused=can_fuse(parameters),
        )  # fmt: skip
