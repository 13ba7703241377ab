"""Feed-forward parts: the plain one and the gated one (arXiv:2002.05202, eq. 5 and 6)."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from mainspring.models.config import Activation, FfnSpec
from mainspring.models.parts.half import shared

ACTIVATIONS: dict[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "tanh": torch.tanh,
}


class Glu(nn.Module):
    """down(activation(gate(x)) * up(x))."""

    def __init__(self, spec: FfnSpec, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, spec.hidden, bias=spec.bias)
        self.up = nn.Linear(width, spec.hidden, bias=spec.bias)
        self.down = nn.Linear(spec.hidden, width, bias=spec.bias)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(self, x_TD: torch.Tensor) -> torch.Tensor:
        x_TD = shared(x_TD)
        return self.down(self.activation(self.gate(x_TD)) * self.up(x_TD))


class Mlp(nn.Module):
    """down(activation(up(x)))."""

    def __init__(self, spec: FfnSpec, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, spec.hidden, bias=spec.bias)
        self.down = nn.Linear(spec.hidden, width, bias=spec.bias)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(self, x_TD: torch.Tensor) -> torch.Tensor:
        return self.down(self.activation(self.up(x_TD)))


def build_ffn(spec: FfnSpec, width: int) -> nn.Module:
    return Glu(spec, width) if spec.kind == "glu" else Mlp(spec, width)
