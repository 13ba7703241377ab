"""Who runs the model over batches, forwards and backwards; this one holds all of it.

Learner -> Runner.look      forwards without gradients, for annotators and validation
        -> Runner.backward  forwards and backwards of a step's batches
        -> Runner.join      gradients of all processes added up
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed, nn

from mainspring.models.model import Model
from mainspring.train.batch import Batch
from mainspring.train.optim import OptimConfig, build_optimizer, clip
from mainspring.train.outputs import Outputs, run_model
from mainspring.train.plan import Plan
from mainspring.train.ranks import Group, Ranks

T = TypeVar("T")
Sums = dict[str, float]
LossOf = Callable[[int, Outputs], tuple[torch.Tensor, Sums]]
"""Number of a batch and the model's outputs to a loss and what is reported of it."""
Parameters = Mapping[str, nn.Parameter]
BUCKET_BYTES = 32 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What this process has of a weight: from `start` on along `dim`, or all of it (None). `is_kept`: it saves it."""

    dim: int | None = None
    start: int = 0
    is_kept: bool = True


class Runner:
    """Each process has the whole model and items of its own (data parallel); or there is one alone.

    `is_cut`: a process has a part of the model's weights only. `watches_routers`: outputs are to keep what routers of
    experts said.
    """

    name = "data parallel"
    is_cut = False
    watches_routers = False

    def __init__(self, model: Model, plan: Plan, ranks: Ranks) -> None:
        self.model, self.plan, self.ranks = model, plan, ranks
        every = dict(model.named_parameters())
        self.shapes = {name: each.shape for name, each in every.items()}
        self.dtypes = {name: each.dtype for name, each in every.items()}
        self.num_parameters = sum(each.numel() for each in every.values())
        self.num_trained = sum(each.numel() for each in every.values() if each.requires_grad)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What trains in this process, by name."""
        return {name: each for name, each in self.model.named_parameters() if each.requires_grad}

    def build_optimizer(self, config: OptimConfig) -> torch.optim.Optimizer:
        """The optimizer of what trains here."""
        return build_optimizer(self.parameters, config)

    def describe(self) -> str:
        """How the run computes, and on how many processes."""
        many = f" on {self.ranks.world_size} processes ({self.name})" if self.ranks.world_size > 1 else ""
        return self.plan.describe() + many

    @property
    def is_writer(self) -> bool:
        """Whether this process saves the parts that it keeps."""
        return self.ranks.rank == 0

    def frozen(self) -> "Runner":
        """The same of a copy of the model as it is now, which never trains."""
        return Runner(copy.deepcopy(self.model).requires_grad_(False), self.plan, self.ranks)

    def level(self, batches: Sequence[Batch]) -> list[Batch]:
        """The batches to run, with padding where all processes must run as many."""
        return list(batches)

    def run(self, batch: Batch) -> Outputs:
        """One forward."""
        return run_model(self.model, batch, watches_routers=self.watches_routers)

    def look(self, batch: Batch, of: Callable[[Outputs], T]) -> T | None:
        """What is made of a batch's outputs, without gradients; None where another process knows it."""
        with torch.no_grad(), self.plan.autocast():
            return of(self.run(batch))

    def backward(
        self, batches: Iterable[Batch], loss_of: LossOf, states: Sequence[torch.Tensor] | None = None
    ) -> list[Sums]:
        """Add up the gradients of all batches; `states` of random numbers are taken before each one."""
        parts: list[Sums] = []
        for number, batch in enumerate(batches):
            if states is not None:
                torch.set_rng_state(states[number])
            with self.plan.autocast():
                outputs = self.run(batch)
            loss, sums = loss_of(number, outputs)
            loss.backward()
            parts.append(sums)
        return parts

    def join(self, parameters: Parameters) -> None:
        """Every process's gradients become the sum of all."""
        add_up(parameters.values(), self.ranks.group)

    def clip(self, parameters: Parameters, max_norm: float) -> float:
        """Scale gradients down to `max_norm` together; the norm they had."""
        return clip(parameters, max_norm)

    def part(self, name: str) -> Part:
        """What this process has of a weight."""
        return Part()

    def local(self, tensor: torch.Tensor) -> torch.Tensor:
        """The numbers that lie in this process."""
        return tensor

    def narrow(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        """This process's part of a weight, or of what an optimizer keeps beside it."""
        return whole

    def wrap(self, like: torch.Tensor, local: torch.Tensor) -> torch.Tensor:
        """Numbers of this process as a tensor of the kind that `like` is."""
        return local

    def close(self) -> None:
        """Give the model that was handed in what it has learnt; on all processes."""


def add_up(parameters: Iterable[nn.Parameter], group: Group | None) -> None:
    """Gradients become their sums over a group, in few messages; what has none anywhere keeps none."""
    if group is None or distributed.get_world_size(group) == 1:
        return
    every = list(parameters)
    has_N = torch.tensor([each.grad is not None for each in every], dtype=torch.int32)
    distributed.all_reduce(has_N, group=group)
    used = [each for each, has in zip(every, has_N.tolist(), strict=True) if has]
    for each in used:
        if each.grad is None:
            each.grad = torch.zeros_like(each)
    buckets = _buckets([each.grad for each in used if each.grad is not None])
    flat = [torch.cat([each.flatten() for each in bucket]) for bucket in buckets]
    works = [distributed.all_reduce(each, group=group, async_op=True) for each in flat]
    for bucket, sums, work in zip(buckets, flat, works, strict=True):
        assert work is not None
        work.wait()
        for gradient, part in zip(bucket, sums.split([each.numel() for each in bucket]), strict=True):
            gradient.copy_(part.view_as(gradient))


def _buckets(gradients: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Of one dtype each, none much larger than a message should be."""
    buckets: list[list[torch.Tensor]] = []
    for dtype in dict.fromkeys(each.dtype for each in gradients):
        size = BUCKET_BYTES
        for gradient in (each for each in gradients if each.dtype == dtype):
            if size >= BUCKET_BYTES:
                buckets.append([])
                size = 0
            buckets[-1].append(gradient)
            size += gradient.nbytes
    return buckets
