"""What an optimizer is: settings with a `kind` that build one of torch's, with its parameters in groups.

Every group tells its `lr_factor`; `set_lr` is how a step's rate reaches the groups. All state that an optimizer
keeps of a parameter lies in `optimizer.state[parameter]` as tensors by name, so that one pair of functions saves
and restores every kind.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from pydantic import Field
from torch import nn

from mainspring.config import Config
from mainspring.errors import ConfigError
from mainspring.train.optim.schedule import Schedule

Parameters = Mapping[str, nn.Parameter]
CLIP_EPS = 1e-6  # what torch adds to the norm


class ParameterGroup(Config):
    """Weights that are trained in another way than the rest."""

    pattern: str = Field(
        min_length=1, description="of the weights' names, with * and ?; the first that fits counts"
    )
    lr_factor: float = Field(default=1.0, gt=0, description="what the learning rate is multiplied by here")
    weight_decay: float | None = Field(
        default=None,
        ge=0,
        description="in place of the optimizer's, for vectors too; left out, as for the rest",
    )


class Optimizer(Schedule):
    """What all kinds have."""

    weight_decay: float = Field(
        default=0.0, ge=0, description="pull of matrices towards zero; vectors have none"
    )
    max_grad_norm: float = Field(
        default=1.0, gt=0, description="longer gradients are scaled down to this norm"
    )
    groups: tuple[ParameterGroup, ...] = Field(
        default=(), description="weights with a learning rate or weight decay of their own"
    )

    @property
    def state_keys(self) -> tuple[str, ...]:
        """Names of what is remembered of a parameter after the first step."""
        raise NotImplementedError

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """An optimizer of these weights by name."""
        raise NotImplementedError

    def grouped(self, parameters: Parameters) -> list[dict[str, Any]]:
        """Parameter groups as torch takes them: those with the same treatment together, in order of appearance.

        Raises:
            ConfigError: a pattern that changes nothing.

        """
        made: dict[tuple[float, float], dict[str, Any]] = {}
        keys = self.state_keys
        unused = dict.fromkeys(each.pattern for each in self.groups)
        for name, parameter in parameters.items():
            own = next((each for each in self.groups if fnmatchcase(name, each.pattern)), None)
            factor, decay = 1.0, self.weight_decay if parameter.ndim >= 2 else 0.0
            if own is not None:
                unused.pop(own.pattern, None)
                factor, decay = own.lr_factor, decay if own.weight_decay is None else own.weight_decay
            values = {"params": [], "lr": self.lr * factor, "lr_factor": factor, "weight_decay": decay}
            values["state_keys"] = keys
            made.setdefault((factor, decay), values)["params"].append(parameter)
        for pattern in unused:
            raise ConfigError(_unused(pattern, parameters))
        return list(made.values())


class Moments(Optimizer):
    """What the kinds of Adam have: running means of the gradients and of their squares."""

    beta1: float = Field(default=0.9, ge=0, lt=1, description="memory of the gradients' mean")
    beta2: float = Field(default=0.999, ge=0, lt=1, description="memory of the gradients' square")
    eps: float = Field(default=1e-8, gt=0, description="added to the divisor")

    @property
    def state_keys(self) -> tuple[str, ...]:
        return ("step", "exp_avg", "exp_avg_sq")


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its part of a step's learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def can_fuse(parameters: Parameters) -> bool:
    """Whether torch has fused updates for the device of all of them."""
    return all(parameter.device.type in ("cpu", "cuda") for parameter in parameters.values())


def state_of(optimizer: torch.optim.Optimizer, parameters: Parameters) -> dict[str, torch.Tensor]:
    """All that an optimizer remembers, as `<key>/<parameter's name>`; nothing before the first step."""
    return {
        f"{key}/{name}": torch.as_tensor(value)
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_state(
    optimizer: torch.optim.Optimizer, parameters: Parameters, saved: Mapping[str, torch.Tensor]
) -> list[str]:
    """Put what `state_of` gave into an optimizer that was just built.

    Returns:
        Names of the parameters of which other things were saved than this optimizer remembers: another kind
        has written them. It begins with them as if they had never been updated.

    """
    found: dict[str, dict[str, torch.Tensor]] = {}
    for path, value in saved.items():
        key, _, name = path.partition("/")
        found.setdefault(name, {})[key] = value
    keys = {each: group["state_keys"] for group in optimizer.param_groups for each in group["params"]}
    afresh: list[str] = []
    for name, parameter in parameters.items():
        kept = found.get(name, {})
        if kept and set(kept) == set(keys[parameter]):
            optimizer.state[parameter] = kept
        elif kept:
            afresh.append(name)
    return afresh


def clip(parameters: Parameters, max_norm: float) -> float:
    """Scale gradients down to `max_norm` and return the norm they had; an infinite one scales nothing."""
    gradients = [parameter.grad for parameter in parameters.values() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if max_norm < float(norm) + CLIP_EPS < float("inf"):  # else all would be multiplied by one
        nn.utils.clip_grads_with_norm_(list(parameters.values()), max_norm, norm)
    return float(norm)


def _unused(pattern: str, names: Iterable[str]) -> str:
    fitting = [name for name in names if fnmatchcase(name, pattern)]
    if fitting:
        return (
            f"`optim.groups` has the pattern '{pattern}', but all it fits ({fitting[0]}, ...) was taken by earlier "
            "ones. Put it before them."
        )
    some = ", ".join(list(names)[:3])
    return (
        f"`optim.groups` has the pattern '{pattern}', which fits no trained weight. They are named such as {some}; "
        "correct it, or take it out."
    )
