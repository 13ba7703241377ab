"""IA3: keys, values and the inside of feed-forward parts are scaled, one learnt number a channel.

Paper: arXiv:2205.05638, section 3.3. All scales begin at 1.

Shapes: T tokens, I a linear's inputs, O its outputs.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from mainspring.adapt import base as adapters
from mainspring.adapt.base import Adapter
from mainspring.errors import ConfigError


class Ia3(Adapter):
    """Scales on what some linears give and on what others take."""

    kind: Literal["ia3"] = "ia3"
    outputs: tuple[str, ...] = Field(
        default=("k", "v"), description="names of linears whose outputs are scaled"
    )
    inputs: tuple[str, ...] = Field(default=("down",), description="names of linears whose inputs are scaled")

    def attach(self, model: nn.Module, name: str, *, seed: int) -> None:
        """Put scales on all of them."""
        made: dict[str, nn.Module] = {}
        for is_input, targets in ((False, self.outputs), (True, self.inputs)):
            paths = adapters.target_paths(model, targets) if targets else []
            for path, linear in adapters.linears_at(model, paths).items():
                size = linear.in_features if is_input else linear.out_features
                made[path] = Scale(size, linear.weight.dtype, is_input=is_input)
        adapters.put_on(model, self, name, made)


class Scale(nn.Module):
    """One number a channel of a linear's input or output."""

    def __init__(self, size: int, dtype: torch.dtype, *, is_input: bool) -> None:
        super().__init__()
        self.is_input = is_input
        self.scale_X = nn.Parameter(torch.ones(size, dtype=dtype))

    def forward(self, base: nn.Module, x_TI: torch.Tensor) -> torch.Tensor:
        return base(x_TI * self.scale_X) if self.is_input else base(x_TI) * self.scale_X


def merge(model: nn.Module, name: str) -> None:
    """Multiply the scales into the weights for export, and take them off.

    Raises:
        ConfigError: other adapters would then sit on weights they were not trained on.

    """
    record = adapters.adapters_of(model)
    if len(record.configs) > 1:
        raise ConfigError(
            f"Merging '{name}' would change the base below the other adapters; remove those first."
        )
    for path, part in adapters.parts(model, name).items():
        linear = adapters.plain_at(model, path)
        assert isinstance(part, Scale)
        assert isinstance(linear, nn.Linear)
        with torch.no_grad():
            linear.weight *= part.scale_X if part.is_input else part.scale_X.unsqueeze(1)
            if linear.bias is not None and not part.is_input:
                linear.bias.mul_(part.scale_X)
    record.fingerprint = None
    adapters.remove(model, name)
