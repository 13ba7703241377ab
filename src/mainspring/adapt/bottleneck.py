"""Bottleneck adapters: behind a part of a layer, down to a few numbers, an activation, up again, and added.

Papers: arXiv:1902.00751, section 2.1 (behind the mixer and the feed-forward part); arXiv:2005.00247, section 3.2.1
and appendix A (behind the latter alone): y = part(x) + U f(D part(x) + d) + u. Ours: U and u begin as zeros, where
the papers begin near zero, so that an untrained adapter changes no bit; the layer's own sum and norms come behind.

Shapes: T tokens, D model width, W the adapter's width.
"""

import math
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional

from mainspring.adapt import base as adapters
from mainspring.adapt.base import Adapter
from mainspring.errors import ConfigError
from mainspring.models.config import Activation
from mainspring.models.model import Model
from mainspring.models.parts.ffn import ACTIVATIONS

Where = Literal["both", "ffn"]
REDUCTION = 16


class Bottleneck(Adapter):
    """A small network behind mixers and feed-forward parts.

    >>> Bottleneck(reduction=8).width_in(512)
    64
    """

    kind: Literal["bottleneck"] = "bottleneck"
    width: int | None = Field(default=None, ge=1, description="numbers of the narrow middle")
    reduction: int | None = Field(
        default=None,
        ge=1,
        description=f"instead: the model's width is divided by this; {REDUCTION} if neither is given",
    )
    where: Where = Field(
        default="both", description="behind mixer and feed-forward part, or behind the latter alone"
    )
    activation: Activation = Field(default="relu", description="in the middle")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.width is not None and self.reduction is not None:
            raise ValueError(
                f"has a `width` of {self.width} and a `reduction` of {self.reduction}; give one of them"
            )
        return self

    def width_in(self, model_width: int) -> int:
        """Numbers of the narrow middle in a model of that width."""
        return self.width or max(1, model_width // (self.reduction or REDUCTION))

    def attach(self, model: nn.Module, name: str, *, seed: int) -> None:
        """Put one behind every part."""
        assert isinstance(model, Model)
        generator = torch.Generator().manual_seed(seed)
        like_VD = model.embedding.weight
        adapters.put_on(
            model, self, name, {path: Narrow(self, like_VD, generator) for path in self._paths(model)}
        )

    def _paths(self, model: Model) -> list[str]:
        stacks = {"": model.config, "encoder.": model.config.encoder}
        names = ("mixer", "ffn") if self.where == "both" else ("ffn",)
        paths = [
            f"{stack}blocks.{layer}.{name}"
            for stack, spec in stacks.items() if spec is not None
            for layer, block in enumerate(spec.blocks)
            for name in names if name == "mixer" or block.ffn is not None
        ]  # fmt: skip
        if not paths:
            raise ConfigError(
                f"`where` is '{self.where}', but no layer of this {model.config.family} model has a feed-forward "
                "part. Set it to 'both'."
            )
        return paths


class Narrow(nn.Module):
    """What is added to one part's output."""

    def __init__(self, config: Bottleneck, like_VD: torch.Tensor, generator: torch.Generator) -> None:
        super().__init__()
        model_width = like_VD.shape[1]
        width = config.width_in(model_width)
        self.activation = ACTIVATIONS[config.activation]
        bound = 1.0 / math.sqrt(model_width)
        down_WD = torch.empty(width, model_width).uniform_(-bound, bound, generator=generator)
        kind = {"dtype": like_VD.dtype, "device": like_VD.device}
        self.down_WD = nn.Parameter(down_WD.to(**kind))
        self.down_bias_W = nn.Parameter(torch.zeros(width, **kind))
        self.up_DW = nn.Parameter(torch.zeros(model_width, width, **kind))
        self.up_bias_D = nn.Parameter(torch.zeros(model_width, **kind))

    def forward(self, part: nn.Module, x_TD: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        y_TD = part(x_TD, *rest, **more)
        low_TW = self.activation(functional.linear(y_TD, self.down_WD, self.down_bias_W))
        return y_TD + functional.linear(low_TW, self.up_DW, self.up_bias_D)
