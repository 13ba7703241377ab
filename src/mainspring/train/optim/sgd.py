"""Stochastic gradient descent with momentum.

Source: Sutskever et al., On the importance of initialization and momentum in deep learning (ICML 2013), in
torch's form: v <- momentum v + g;  w <- w - lr v, and with nesterov  w <- w - lr (g + momentum v).
"""

from typing import Literal, Self

import pydantic
import torch
from pydantic import Field

from mainspring.train.optim.base import Optimizer, Parameters, can_fuse


class Sgd(Optimizer):
    """SGD; weight decay is added to the gradient."""

    kind: Literal["sgd"] = "sgd"
    lr: float = Field(default=1e-2, gt=0, description="highest learning rate")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="memory of the gradients' sum")
    nesterov: bool = Field(default=False, description="look ahead along the momentum")

    @pydantic.model_validator(mode="after")
    def _check_nesterov(self) -> Self:
        if self.nesterov and not self.momentum:
            raise ValueError(
                "`nesterov` looks ahead along the momentum, which is 0. Set momentum, or leave it out."
            )
        return self

    @property
    def state_keys(self) -> tuple[str, ...]:
        return ("momentum_buffer",) if self.momentum else ()

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            self.grouped(parameters), lr=self.lr, momentum=self.momentum, nesterov=self.nesterov,
            fused=can_fuse(parameters),
        )  # fmt: skip
