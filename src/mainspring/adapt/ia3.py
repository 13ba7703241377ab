"""IA3: keys, values and the inside of feed-forward parts are scaled, one learnt number a channel.

Paper: arXiv:2205.05638, section 3.3: keys and values are multiplied with l_k and l_v, the inner activations of the
feed-forward part with l_ff, which is what its last linear takes. All scales begin at 1.

Shapes: T tokens, I a linear's inputs, O its outputs.
"""

from collections.abc import Mapping
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from mainspring.adapt import base as adapters
from mainspring.adapt.base import Adapter
from mainspring.errors import ConfigError


class Ia3(Adapter):
    """Scales on what some linears give and on what others take.

    >>> Ia3().outputs
    ('k', 'v')
    """

    kind: Literal["ia3"] = "ia3"
    outputs: tuple[str, ...] = Field(
        default=("k", "v"), description="names of linears whose outputs are scaled"
    )
    inputs: tuple[str, ...] = Field(default=("down",), description="names of linears whose inputs are scaled")

    @model_validator(mode="after")
    def _check(self) -> Self:
        both = sorted(set(self.outputs) & set(self.inputs))
        if both or not self.outputs + self.inputs:
            raise ValueError(
                f"names {', '.join(both) or 'nothing'} in `outputs` and `inputs`; name at least one linear, "
                "and each on one side"
            )
        return self

    def attach(self, model: nn.Module, name: str, *, seed: int) -> None:
        """Put scales on all of them."""
        paths = adapters.target_paths(model, self.outputs + self.inputs)
        put_on(model, self, name, {path: path.rpartition(".")[2] in self.inputs for path in paths})


class Scale(nn.Module):
    """One number a channel of a linear's input or output."""

    def __init__(self, size: int, like: torch.Tensor, *, is_input: bool) -> None:
        super().__init__()
        self.is_input = is_input
        self.scale_X = nn.Parameter(torch.ones(size, dtype=like.dtype, device=like.device))

    def forward(self, linear: nn.Module, x_TI: torch.Tensor) -> torch.Tensor:
        if self.is_input:
            return linear(x_TI * self.scale_X.to(x_TI.dtype))
        y_TO = linear(x_TI)
        return y_TO * self.scale_X.to(y_TO.dtype)


def put_on(model: nn.Module, config: Ia3, name: str, is_input: Mapping[str, bool]) -> dict[str, Scale]:
    """Scales of 1 on the linears at these paths, on their inputs or on their outputs."""
    made: dict[str, Scale] = {}
    for path, linear in adapters.linears_at(model, list(is_input)).items():
        size = linear.in_features if is_input[path] else linear.out_features
        made[path] = Scale(size, linear.weight, is_input=is_input[path])
    adapters.put_on(model, config, name, made)
    return made


def merge(model: nn.Module, name: str) -> None:
    """Multiply the scales into the weights for export, and take them off: W diag(l), or diag(l) W and l * b.

    Raises:
        ConfigError: other adapters would then sit on weights they were not trained on, the weights are in 4 bits,
            or the adapter is of another kind.

    """
    record = adapters.adapters_of(model)
    found = adapters.parts(model, name)
    if len(record.configs) > 1:
        others = ", ".join(sorted(set(record.configs) - {name}))
        raise ConfigError(f"Merging '{name}' would change the base below {others}; remove those first.")
    checked: list[tuple[nn.Linear, Scale]] = []
    for path, part in found.items():
        linear = adapters.plain_at(model, path)
        if not isinstance(part, Scale):
            raise ConfigError(
                f"'{name}' is an adapter of kind '{record.configs[name].kind}', which is no scale of weights. "
                "Keep it beside the model, or train one of kind 'ia3' or 'lora'."
            )
        if not isinstance(linear, nn.Linear):
            raise ConfigError(
                f"{path} is kept in 4 bits. Load the adapter onto the base it came from, and merge there."
            )
        checked.append((linear, part))
    for linear, scale in checked:
        _multiply(linear, scale)
    record.fingerprint = None
    adapters.remove(model, name)


@torch.no_grad()
def _multiply(linear: nn.Linear, scale: Scale) -> None:
    linear.weight *= scale.scale_X if scale.is_input else scale.scale_X.unsqueeze(1)
    if linear.bias is not None and not scale.is_input:
        linear.bias.mul_(scale.scale_X)
