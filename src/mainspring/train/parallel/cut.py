"""What all runners share whose processes have a part of the weights each.

The model that was handed in is not cut: a twin of its modules is, which takes the weights over. At the end they flow
back, whole, into every process.
"""

import copy
from typing import Self

import torch
from torch import distributed, nn

from mainspring.adapt.base import Adapted
from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.train.parallel.base import Parameters, Runner
from mainspring.train.plan import Plan
from mainspring.train.ranks import Group, Ranks


class CutRunner(Runner):
    """Cuts the twin in `cut`, and finds whole weights again in `whole`."""

    is_cut = True

    def __init__(self, model: Model, plan: Plan, ranks: Ranks) -> None:
        super().__init__(model, plan, ranks)
        self._origin = model
        self.model = _twin(model)
        self.cut()
        for parameter in model.parameters():
            parameter.data = parameter.data.new_empty(0)

    def cut(self) -> None:
        """Leave this process's part in the twin."""
        raise NotImplementedError

    def whole(self, name: str) -> torch.Tensor:
        """A weight put together from all processes, on each of them."""
        raise NotImplementedError

    def group(self) -> Group | None:
        """Those whose parts make a model."""
        return self.ranks.model_group

    def is_counted(self, name: str) -> bool:
        """Whether the gradient of a weight, or of this part of it, is counted in this process."""
        return self.part(name).is_kept

    def frozen(self) -> Self:
        model = copy.deepcopy(self._origin)
        for name, parameter in model.named_parameters():
            parameter.data = self.whole(name).clone()  # what is not cut would go on with the run
        return type(self)(model.requires_grad_(False), self.plan, self.ranks)

    def clip(self, parameters: Parameters, max_norm: float) -> float:
        gradients = {
            name: self.local(each.grad) for name, each in parameters.items() if each.grad is not None
        }
        own = [each for name, each in gradients.items() if self.is_counted(name) and each.numel()]
        square = nn.utils.get_total_norm(own).double() ** 2 if own else torch.zeros((), dtype=torch.float64)
        distributed.all_reduce(square, group=self.group())
        norm = float(square.sqrt())
        if norm < float("inf"):
            for each in gradients.values():
                each.mul_(min(1.0, max_norm / (norm + 1e-6)))
        return norm

    def close(self) -> None:
        for name, parameter in self._origin.named_parameters():
            parameter.data = self.whole(name)


def check_plain(model: Model, what: str) -> None:
    """Refuse models whose processes would have to know more than the hidden states of one stack.

    Raises:
        ConfigError: an encoder beside a decoder, a bias of distances for all layers, or virtual tokens.

    """
    reasons = {
        "it has an encoder and a decoder": model.encoder is not None,
        "all its layers share a bias of distances": model.relative is not None,
        "its adapter puts virtual tokens in front": isinstance(model.front, Adapted),
    }
    for reason in (each for each, is_so in reasons.items() if is_so):
        raise ConfigError(f"{what} cannot cut this model: {reason}. Take plan.parallel=fsdp.")


def _twin(model: Model) -> Model:
    """The same tree of modules, around weights that share their numbers, and around the same buffers."""
    shared: dict[int, torch.Tensor] = {id(each): each for each in model.buffers()}
    for each in model.parameters():
        shared[id(each)] = nn.Parameter(each.detach(), requires_grad=each.requires_grad)
    return copy.deepcopy(model, shared)
