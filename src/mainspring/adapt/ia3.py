"""IA3: learnt vectors that scale what linears give out or take in.

Paper: arXiv:2205.05638, section 3.3: keys and values are multiplied with l_k and l_v, the inner activations of
the feed-forward part with l_ff, which is the input of its last linear. All vectors start as ones.

Shapes: T tokens, I a linear's inputs, O its outputs.
"""

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from mainspring.adapt import base
from mainspring.config import Config
from mainspring.models.model import Model


class Ia3Config(Config):
    """Which linears are scaled, and on which side.

    >>> Ia3Config().outputs
    ('k', 'v')
    """

    kind: Literal["ia3"] = Field(default="ia3", description="learnt vectors that scale activations")
    outputs: tuple[str, ...] = Field(
        default=("k", "v"), description="names of the linears whose outputs are scaled, in every layer"
    )
    inputs: tuple[str, ...] = Field(
        default=("down",), description="names of the linears whose inputs are scaled, in every layer"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        both = sorted(set(self.outputs) & set(self.inputs))
        if both or not self.outputs + self.inputs:
            raise ValueError(
                f"names {', '.join(both) or 'nothing'} in `outputs` and `inputs`; name at least one linear, "
                "and each on one side"
            )
        return self

    def apply(self, model: Model, *, seed: int, name: str = "default") -> None:
        """Put vectors of ones on the model; the seed plays no part."""
        paths = base.target_paths(model, self.outputs + self.inputs)
        base.add(model, self, name, vectors(model, self, paths))


class Scale(nn.Module):
    """One linear's vector."""

    def __init__(self, size: int, *, of_inputs: bool, like: torch.Tensor) -> None:
        super().__init__()
        self.of_inputs = of_inputs
        self.scale_X = nn.Parameter(torch.ones(size, dtype=like.dtype, device=like.device))

    def forward(self, linear: nn.Module, x_TI: torch.Tensor) -> torch.Tensor:
        if self.of_inputs:
            return linear(x_TI * self.scale_X.to(x_TI.dtype))
        y_TO = linear(x_TI)
        return y_TO * self.scale_X.to(y_TO.dtype)

    def merge(self, linear: nn.Module) -> None:
        """W diag(l) for inputs; diag(l) W and l * b for outputs."""
        assert isinstance(linear, nn.Linear), "only a plain linear has weights to merge into"
        with torch.no_grad():
            linear.weight *= self.scale_X if self.of_inputs else self.scale_X.unsqueeze(1)
            if linear.bias is not None and not self.of_inputs:
                linear.bias.mul_(self.scale_X)


def vectors(model: Model, config: Ia3Config, paths: list[str]) -> dict[str, nn.Module]:
    """A vector of ones for every linear at these paths."""
    made: dict[str, nn.Module] = {}
    for path, linear in base.linears_at(model, paths).items():
        of_inputs = path.rpartition(".")[2] in config.inputs
        size = linear.in_features if of_inputs else linear.out_features
        made[path] = Scale(size, of_inputs=of_inputs, like=model.embedding.weight)
    return made
