"""Bottleneck adapters: behind a layer's parts, down to a few numbers, an activation, up again, and added.

Papers: arXiv:1902.00751, section 2.1 (behind the mixer and behind the feed-forward part of every layer), and
arXiv:2005.00247, section 3.2.1 and appendix A (behind the feed-forward part alone):
y = part(x) + U f(D part(x) + d) + u. Ours: U and u start as zeros, where the papers start near zero, so that an
untrained adapter changes no bit; the sum with the layer's input and its norm come behind it.

Shapes: T tokens, D model width, W the adapter's width.
"""

import math
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional

from mainspring.adapt import base
from mainspring.config import Config
from mainspring.errors import ConfigError
from mainspring.models.config import Activation
from mainspring.models.model import Model
from mainspring.models.parts.ffn import ACTIVATIONS

Behind = Literal["mixer", "ffn"]
REDUCTION = 16


class BottleneckConfig(Config):
    """Where the adapters sit and how wide they are.

    >>> BottleneckConfig(behind=("ffn",), reduction=8).width_in(512)
    64
    """

    kind: Literal["bottleneck"] = Field(default="bottleneck", description="small nets behind a layer's parts")
    behind: tuple[Behind, ...] = Field(
        default=("mixer", "ffn"),
        min_length=1,
        description="parts of a layer that get one: both (Houlsby), or the feed-forward part alone (Pfeiffer)",
    )
    width: int | None = Field(default=None, ge=1, description="how many numbers it goes down to")
    reduction: int | None = Field(
        default=None,
        ge=1,
        description=f"instead: the model's width is divided by this; {REDUCTION} if neither is given",
    )
    activation: Activation = Field(default="relu", description="what stands between down and up")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.width is not None and self.reduction is not None:
            raise ValueError(
                f"is {self.width} numbers by `width` and a {self.reduction}th by `reduction`; give one of them"
            )
        return self

    def width_in(self, model_width: int) -> int:
        """The adapter's width in a model of that width."""
        return self.width or max(1, model_width // (self.reduction or REDUCTION))

    def apply(self, model: Model, *, seed: int, name: str = "default") -> None:
        """Put untrained adapters on the model."""
        base.add(model, self, name, bottlenecks(model, self, seed=seed))


class Bottleneck(nn.Module):
    """What is added to one part's output."""

    def __init__(
        self, config: BottleneckConfig, like: torch.Tensor, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        model_width = like.shape[1]
        width = config.width_in(model_width)
        self.activation = ACTIVATIONS[config.activation]
        down_WD = torch.zeros(width, model_width)
        if generator is not None:
            down_WD.uniform_(-1 / math.sqrt(model_width), 1 / math.sqrt(model_width), generator=generator)
        kind = {"dtype": like.dtype, "device": like.device}
        self.down_WD = nn.Parameter(down_WD.to(**kind))
        self.down_bias_W = nn.Parameter(torch.zeros(width, **kind))
        self.up_DW = nn.Parameter(torch.zeros(model_width, width, **kind))
        self.up_bias_D = nn.Parameter(torch.zeros(model_width, **kind))

    def forward(self, part: nn.Module, x_TD: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        y_TD = part(x_TD, *rest, **named)
        low_TW = self.activation(functional.linear(y_TD, self.down_WD, self.down_bias_W))
        return y_TD + functional.linear(low_TW, self.up_DW, self.up_bias_D)


def bottlenecks(model: Model, config: BottleneckConfig, *, seed: int | None) -> dict[str, nn.Module]:
    """An adapter behind every such part, by its path; seed None leaves zeros."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    stacks = {"": model.config, "encoder.": model.config.encoder}
    paths = [
        f"{stack}blocks.{layer}.{part}"
        for stack, spec in stacks.items() if spec is not None
        for layer, block in enumerate(spec.blocks)
        for part in config.behind if part == "mixer" or block.ffn is not None
    ]  # fmt: skip
    if not paths:
        raise ConfigError(
            f"`behind` is {config.behind}, but no layer of this {model.config.family} model has such a part; "
            "set it to ('mixer',)."
        )
    return {path: Bottleneck(config, model.embedding.weight, generator) for path in paths}
