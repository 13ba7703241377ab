"""Adam. Paper: arXiv:1412.6980, algorithm 1."""

from typing import Literal

import torch

from mainspring.train.optim.base import Moments, Parameters, can_fuse


class Adam(Moments):
    """Adam; weight decay is added to the gradient, so that the divisor weakens it (AdamW's is not)."""

    kind: Literal["adam"] = "adam"

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        betas = (self.beta1, self.beta2)
        return torch.optim.Adam(
            self.grouped(parameters), lr=self.lr, betas=betas, eps=self.eps, fused=can_fuse(parameters)
        )
