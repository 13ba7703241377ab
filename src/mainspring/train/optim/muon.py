"""Muon: momentum made orthogonal for the hidden matrices, AdamW for all other weights, in one optimizer.

Source: Keller Jordan, Muon: An optimizer for hidden layers in neural networks (2024); arXiv:2502.16982, section 2.2
(the scale that gives an update the RMS of AdamW's). torch.optim.Muon is the same for matrices alone, but always
iterates in bf16, which no exact comparison survives: here that is an option.

Shapes: M by N, a matrix.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from pydantic import Field

from mainspring.train.optim.base import Moments, Parameters, can_fuse

QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b, c of a X + b (X X') X + c (X X')^2 X: steepest at 0, and singular values end between about 0.7 and 1.2."""

EPS = 1e-7
MEAN = "momentum_mean"


class Muon(Moments):
    """Muon; lr, momentum and weight decay are the hidden matrices', the betas and eps are AdamW's."""

    kind: Literal["muon"] = "muon"
    lr: float = Field(default=2e-2, gt=0, description="highest learning rate of the hidden matrices")
    beta2: float = Field(default=0.95, ge=0, lt=1, description="memory of the gradients' square")
    momentum: float = Field(default=0.95, ge=0, lt=1, description="memory of the gradients' mean")
    nesterov: bool = Field(default=True, description="look ahead along the momentum")
    iterations: int = Field(default=5, ge=1, lt=100, description="of Newton and Schulz")
    iterate_in: Literal["weights", "bf16"] = Field(
        default="weights",
        description="dtype of the iterations; bf16 is faster where processors have it, and rounds",
    )
    scale: Literal["shape", "rms"] = Field(
        default="shape",
        description="of an update: shape is sqrt(max(1, M / N)), rms is 0.2 sqrt(max(M, N)), for AdamW's rates",
    )
    adamw_lr: float = Field(default=3e-4, gt=0, description="highest learning rate of what AdamW trains")
    adamw_for: tuple[str, ...] = Field(
        default=("*embedding.*", "*positions.*", "*token_types.*", "*relative.*", "*.a_log", "head.*"),
        description="patterns of names of matrices that AdamW trains; it trains all that is no matrix anyway",
    )

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        def is_hidden(name: str) -> bool:
            is_named = any(fnmatchcase(name, pattern) for pattern in self.adamw_for)
            return parameters[name].ndim == 2 and not is_named

        hidden = {id(parameter) for name, parameter in parameters.items() if is_hidden(name)}
        groups: list[dict[str, Any]] = []
        for group in self.grouped(parameters):
            matrices = [each for each in group["params"] if id(each) in hidden]
            others = [each for each in group["params"] if id(each) not in hidden]
            factor = group["lr_factor"] * self.adamw_lr / self.lr
            groups += [
                {**group, "params": matrices, "is_hidden": True, "state_keys": (MEAN,)},
                {**group, "params": others, "lr_factor": factor, "lr": self.lr * factor, "is_hidden": False},
            ]
        return MuonAdamW([group for group in groups if group["params"]], self, is_fused=can_fuse(parameters))


@dataclass(frozen=True, slots=True)
class Cut:
    """How a matrix of which this process has a piece is made whole, and what of it is this process's."""

    join: Callable[[torch.Tensor], torch.Tensor]
    own: Callable[[torch.Tensor], torch.Tensor]


class MuonAdamW(torch.optim.AdamW):
    """AdamW that leaves the groups with `is_hidden` to Muon; the state of these is `momentum_mean`.

    `cuts` are of the matrices that are shared by processes: what makes an update orthogonal needs all of it.
    """

    def __init__(self, groups: list[dict[str, Any]], config: Muon, *, is_fused: bool) -> None:
        self.config = config
        self.cuts: dict[torch.Tensor, Cut] = {}
        super().__init__(
            groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=is_fused
        )
        self._step_supports_amp_scaling = False  # the scaler must skip a whole step, not AdamW's part of it

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # the loop gives no closure
        """One update of all groups from their gradients."""
        assert closure is None
        every = self.param_groups
        for group in every:
            if group["is_hidden"]:
                self._step_hidden(group)
        self.param_groups = [group for group in every if not group["is_hidden"]]
        try:
            super().step()
        finally:
            self.param_groups = every

    def _step_hidden(self, group: dict[str, Any]) -> None:
        config = self.config
        for weight_MN in group["params"]:
            if weight_MN.grad is None:
                continue
            state = self.state[weight_MN]
            if not state:
                state[MEAN] = torch.zeros_like(weight_MN)
            mean_MN = state[MEAN].lerp_(weight_MN.grad, 1 - config.momentum)
            wanted_MN = weight_MN.grad.lerp(mean_MN, config.momentum) if config.nesterov else mean_MN
            weight_MN.mul_(1 - group["lr"] * group["weight_decay"])
            cut = self.cuts.get(weight_MN)
            update_MN = self._update(wanted_MN) if cut is None else cut.own(self._update(cut.join(wanted_MN)))
            weight_MN.add_(update_MN, alpha=-group["lr"])

    def _update(self, wanted_MN: torch.Tensor) -> torch.Tensor:
        config = self.config
        dtype = torch.bfloat16 if config.iterate_in == "bf16" else wanted_MN.dtype
        update_MN = orthogonal(wanted_MN.to(dtype), config.iterations).to(wanted_MN.dtype)
        return update_MN.mul_(_scale(config.scale, *wanted_MN.shape))


def orthogonal(matrix_MN: torch.Tensor, iterations: int) -> torch.Tensor:
    """U V' of the matrix's singular value decomposition, roughly, by Newton-Schulz: (M, N), in the dtype given."""
    a, b, c = QUINTIC
    is_tall = matrix_MN.shape[0] > matrix_MN.shape[1]
    x = matrix_MN.t() if is_tall else matrix_MN  # the smaller side squared is the cheaper product
    x = x / x.norm().clamp(min=EPS)
    for _ in range(iterations):
        gram = x @ x.t()
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.t() if is_tall else x


def _scale(kind: str, rows: int, columns: int) -> float:
    if kind == "rms":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))
