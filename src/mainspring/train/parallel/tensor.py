"""Several processes share every matrix of attention and feed-forward parts (tensor parallel).

    x ----> own heads (rows of q, k, v) ----> own columns of o ----> sum over processes
    x ----> own rows of gate and up     ----> own columns of down -> sum over processes

Forwards x is the same everywhere and what comes out is summed; backwards the same holds the other way round. What a
part has beside its cut matrices (norms of heads, a router, halves of an adapter) sees a share of the gradient in each
process, and these are summed too. Embedding, head and the norms between parts are whole everywhere.

Paper: arXiv:1909.08053, section 3.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import distributed, nn
from torch.nn import functional

from mainspring.adapt.base import Adapted
from mainspring.adapt.lora import LoraPair
from mainspring.adapt.quantized import QuantLinear
from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.models.parts.attention import Attention
from mainspring.models.parts.block import Block
from mainspring.models.parts.ffn import Glu, Mlp
from mainspring.models.parts.moe import Mixture
from mainspring.train.optim import OptimConfig
from mainspring.train.optim.muon import Cut, MuonAdamW
from mainspring.train.parallel.base import Parameters, Part, add_up
from mainspring.train.parallel.cut import CutRunner, check_plain
from mainspring.train.ranks import Group

ROWS, COLUMNS = 0, 1
CUTS: dict[type[nn.Module], dict[str, int]] = {
    Attention: {"q": ROWS, "k": ROWS, "v": ROWS, "o": COLUMNS},
    Glu: {"gate": ROWS, "up": ROWS, "down": COLUMNS},
    Mlp: {"up": ROWS, "down": COLUMNS},
}


class TensorRunner(CutRunner):
    """Cuts parts whose heads and hidden widths divide by the number of processes."""

    name = "tensor parallel"

    def cut(self) -> None:
        self._dims: dict[str, int] = {}
        self._shared: set[str] = set()
        _check(self.model, self.ranks.model_size)
        for place, block in enumerate(self.model.blocks):
            assert isinstance(block, Block)
            for name in ("mixer", "ffn"):
                if getattr(block, name) is not None:
                    self._cut_region(f"blocks.{place}.{name}", getattr(block, name))

    def build_optimizer(self, config: OptimConfig) -> torch.optim.Optimizer:
        optimizer = super().build_optimizer(config)
        if isinstance(optimizer, MuonAdamW):
            parameters = self.parameters
            optimizer.cuts = {
                parameters[name]: Cut(partial(self._join, dim=dim), partial(self._own, dim=dim))
                for name, dim in self._dims.items()
                if name in parameters
            }
        return optimizer

    def whole(self, name: str) -> torch.Tensor:
        found = self.model.get_parameter(name).detach()
        if name not in self._dims:
            return found
        return self._join(found, self._dims[name])

    def join(self, parameters: Parameters) -> None:
        add_up([each for name, each in parameters.items() if name in self._shared], self.ranks.model_group)
        super().join(parameters)

    def part(self, name: str) -> Part:
        dim = self._dims.get(name)
        if dim is None:
            return Part(is_kept=self.ranks.model_rank == 0)
        return Part(dim=dim, start=self.shapes[name][dim] // self.ranks.model_size * self.ranks.model_rank)

    def narrow(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        dim = self._dims.get(name)
        return whole if dim is None else self._own(whole, dim)

    def _cut_region(self, path: str, region: nn.Module) -> None:
        """Cut all parts of a region between two places where the processes meet."""
        for name, part in region.named_modules(prefix=path):
            for child, dim in CUTS.get(type(part), {}).items():
                self._cut_linear(f"{name}.{child}", getattr(part, child), dim)
        names = (f"{path}.{name}" for name, _ in region.named_parameters())
        self._shared |= {name for name in names if name not in self._dims}
        group = self.ranks.model_group
        region.register_forward_pre_hook(lambda _, args: (_SumBehind.apply(args[0], group), *args[1:]))
        region.register_forward_hook(lambda _, __, y_TD: _SumAhead.apply(y_TD, group))

    def _cut_linear(self, path: str, child: nn.Module, dim: int) -> None:
        if type(child) is nn.Linear:
            self._cut_weight(child, path, "weight", dim)
            if dim == ROWS and child.bias is not None:
                self._cut_weight(child, path, "bias", ROWS)
            if dim == COLUMNS and self.ranks.model_rank > 0:
                child.forward = partial(_without_bias, child)  # it counts once
        elif isinstance(child, Adapted) and all(_is_plain_pair(each) for each in child.parts.values()):
            self._cut_linear(f"{path}.base", child.base, dim)
            for key, pair in child.parts.items():
                self._cut_weight(pair, f"{path}.parts.{key}", "b_OR" if dim == ROWS else "a_RI", dim)
        else:
            raise ConfigError(
                f"plan.tensor cannot cut {path}: only plain matrices and low-rank adapters without `dora`, not what is "
                "kept in 4 bits. Take plan.parallel=fsdp."
            )

    def _cut_weight(self, module: nn.Module, path: str, name: str, dim: int) -> None:
        weight = getattr(module, name)
        own = self._own(weight.detach(), dim).clone()
        setattr(module, name, nn.Parameter(own, requires_grad=weight.requires_grad))
        self._dims[f"{path}.{name}"] = dim

    def _join(self, own: torch.Tensor, dim: int) -> torch.Tensor:
        """A matrix of the pieces of all processes."""
        own = own.contiguous()
        parts = [torch.empty_like(own) for _ in range(self.ranks.model_size)]
        distributed.all_gather(parts, own, group=self.ranks.model_group)
        return torch.cat(parts, dim=dim)

    def _own(self, whole: torch.Tensor, dim: int) -> torch.Tensor:
        return whole.chunk(self.ranks.model_size, dim)[self.ranks.model_rank]


class _SumBehind(torch.autograd.Function):
    """x as it is; its gradient is summed over the processes."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, group: Group) -> torch.Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradients[0].contiguous().clone()
        distributed.all_reduce(gradient, group=ctx.group)
        return gradient, None


class _SumAhead(torch.autograd.Function):
    """x summed over the processes; its gradient is the same in all of them."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, group: Group) -> torch.Tensor:  # noqa: ARG004 - torch gives it
        total = x.contiguous().clone()
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:  # noqa: ARG004 - torch gives it
        return gradients[0], None


def _check(model: Model, size: int) -> None:
    check_plain(model, f"plan.tensor={size}")
    for reason in (each for block in model.blocks for each in _reasons(block, size)):
        raise ConfigError(f"plan.tensor={size} cannot cut this model: {reason}. Take plan.parallel=fsdp.")


def _reasons(block: nn.Module, size: int) -> Iterator[str]:
    assert isinstance(block, Block)
    mixer, ffn = block.mixer, block.ffn
    if type(mixer) is not Attention or block.cross is not None:
        yield f"a block mixes by {type(mixer).__name__}, not by plain attention"
    elif mixer.spec.num_kv_heads % size:
        yield f"its {mixer.spec.num_kv_heads} key-value heads do not divide by {size}"
    elif mixer.spec.alibi is not None:
        yield "its heads have slopes (ALiBi), which belong to all of them"
    parts = [] if ffn is None else [ffn] if not isinstance(ffn, Mixture) else [*ffn.experts, ffn.shared]
    for part in (each for each in parts if each is not None):
        if not isinstance(part, Glu | Mlp):
            yield f"a feed-forward part is a {type(part).__name__}"
        elif (hidden := _num_outputs(part.up)) % size:
            yield f"its hidden width {hidden} does not divide by {size}"


def _num_outputs(linear: nn.Module) -> int:
    plain = linear.base if isinstance(linear, Adapted) else linear
    assert isinstance(plain, nn.Linear | QuantLinear)
    return plain.out_features


def _without_bias(linear: nn.Linear, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch calls it so
    return functional.linear(input, linear.weight)


def _is_plain_pair(part: nn.Module) -> bool:
    return isinstance(part, LoraPair) and part.length_O is None
