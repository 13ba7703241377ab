"""AdamW. Paper: arXiv:1711.05101, algorithm 2, in torch's form: the decay is scaled by the learning rate."""

from typing import Literal

import torch

from mainspring.train.optim.base import Moments, Parameters, can_fuse


class AdamW(Moments):
    """Adam with weight decay beside the gradient."""

    kind: Literal["adamw"] = "adamw"

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            self.grouped(parameters), lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps,
            fused=can_fuse(parameters),
        )  # fmt: skip
