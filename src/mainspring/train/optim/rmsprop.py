"""RMSProp. Source: Hinton, Neural Networks for Machine Learning (2012), lecture 6e; centered: arXiv:1308.0850."""

from typing import Literal

import torch
from pydantic import Field

from mainspring.train.optim.base import Optimizer, Parameters


class RmsProp(Optimizer):
    """Gradients divided by the root of their running mean square; torch has no fused form of it."""

    kind: Literal["rmsprop"] = "rmsprop"
    lr: float = Field(default=1e-3, gt=0, description="highest learning rate")
    smoothing: float = Field(default=0.99, ge=0, lt=1, description="memory of the gradients' square")
    eps: float = Field(default=1e-8, gt=0, description="added to the divisor")
    momentum: float = Field(default=0.0, ge=0, lt=1, description="memory of the updates' sum")
    centered: bool = Field(default=False, description="divide by the deviation: less the square of the mean")

    @property
    def state_keys(self) -> tuple[str, ...]:
        momentum = ("momentum_buffer",) if self.momentum else ()
        return ("step", "square_avg", *momentum, *(("grad_avg",) if self.centered else ()))

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(
            self.grouped(parameters), lr=self.lr, alpha=self.smoothing, eps=self.eps, momentum=self.momentum,
            centered=self.centered,
        )  # fmt: skip
