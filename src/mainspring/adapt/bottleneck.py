"""Bottleneck adapters: behind a part of a layer, down to a few numbers, an activation, up again, and added.

Papers: arXiv:1902.00751, section 2 (behind the mixer and the feed-forward part); arXiv:2005.00247 (behind the
latter alone). What goes up begins at zero, so that an untrained adapter changes nothing.

Shapes: T tokens, D width.
"""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from mainspring.adapt import base as adapters
from mainspring.adapt.base import Adapter
from mainspring.models.config import Activation
from mainspring.models.parts.ffn import ACTIVATIONS

Where = Literal["both", "ffn"]


class Bottleneck(Adapter):
    """A small network behind mixers and feed-forward parts."""

    kind: Literal["bottleneck"] = "bottleneck"
    width: int = Field(default=64, ge=1, description="numbers of the narrow middle")
    where: Where = Field(
        default="both", description="behind mixer and feed-forward part, or behind the latter alone"
    )
    activation: Activation = Field(default="relu", description="in the middle")

    def attach(self, model: nn.Module, name: str, *, seed: int) -> None:
        """Put one behind every part."""
        generator = torch.Generator().manual_seed(seed)
        weight = next(model.parameters())
        made: dict[str, nn.Module] = {}
        for path in _paths(model, self.where):
            made[path] = Narrow(_width(model), self, weight.dtype, generator)
        adapters.put_on(model, self, name, made)


class Narrow(nn.Module):
    """y + up(activation(down(y))) of what a part says."""

    def __init__(
        self, width: int, config: Bottleneck, dtype: torch.dtype, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.down = nn.Linear(width, config.width, dtype=dtype)
        self.up = nn.Linear(config.width, width, dtype=dtype)
        self.activation = ACTIVATIONS[config.activation]
        with torch.no_grad():
            self.down.weight.normal_(std=0.01, generator=generator)
            for zero in (self.down.bias, self.up.weight, self.up.bias):
                zero.zero_()

    def forward(self, base: nn.Module, *inputs: Any, **more: Any) -> torch.Tensor:
        y_TD = base(*inputs, **more)
        return y_TD + self.up(self.activation(self.down(y_TD)))


def _paths(model: nn.Module, where: Where) -> list[str]:
    names = ("mixer", "ffn") if where == "both" else ("ffn",)
    blocks = [
        path for path, module in model.named_modules() if hasattr(module, "mixer") and hasattr(module, "ffn")
    ]
    found = [f"{path}.{name}" for path in blocks for name in names]
    return [path for path in found if model.get_submodule(path) is not None]


def _width(model: nn.Module) -> int:
    return model.config.width  # type: ignore[union-attr, return-value]
