"""Every process has a part of every weight and items of its own (fully sharded data parallel).

A block's weights are put together while it runs and its gradients are added up and cut again right behind it; what
lies outside of the blocks is one more such unit. The messages must meet, so all processes run as many batches.

Paper: arXiv:2304.11277; the second form, in which a weight stays one tensor, is torch's `fully_shard`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from mainspring.models.model import Model
from mainspring.models.parts.stack import Stack
from mainspring.train.batch import Batch
from mainspring.train.outputs import Outputs
from mainspring.train.parallel.base import LossOf, Parameters, Part, Sums
from mainspring.train.parallel.cut import CutRunner
from mainspring.train.ranks import Group

T = TypeVar("T")


class _Root(nn.Module):
    """The whole of a forward, so that what lies outside of the blocks is there for the loss too."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[], Any]) -> Any:
        return work()


class FsdpRunner(CutRunner):
    """Cuts every weight along its first dimension."""

    name = "fully sharded data parallel"

    def cut(self) -> None:
        assert self.ranks.mesh is not None
        mesh = self.ranks.mesh["data"]
        self._root = _Root(self.model)
        for stack in [each for each in self.model.modules() if isinstance(each, Stack)]:
            for block in stack.blocks:
                fully_shard(block, mesh=mesh)
        fully_shard(self._root, mesh=mesh, reshard_after_forward=True)
        for module in self._root.modules():
            if isinstance(module, FSDPModule):
                module.set_gradient_divide_factor(1.0)
                module.set_force_sum_reduction_for_comms(enable=True)

    @property
    def is_writer(self) -> bool:
        return True  # every process has what no other has

    def group(self) -> Group | None:
        return self.ranks.group

    def whole(self, name: str) -> torch.Tensor:
        found = self.model.get_parameter(name)
        assert isinstance(found, DTensor)
        return found.full_tensor().detach()

    def level(self, batches: Sequence[Batch]) -> list[Batch]:
        short = min(batches, key=lambda batch: len(batch.ids), default=None)
        gathered = self.ranks.gather((len(batches), short if len(batches) < 2 else None))
        most = max(number for number, _ in gathered)
        short = short or next((batch for _, batch in gathered if batch is not None), None)
        if short is None and most:
            short = next(iter(each for each in self.ranks.gather(batches[0] if batches else None) if each))
        return [*batches, *[replace(short, is_padding=True) for _ in range(most - len(batches)) if short]]

    def look(self, batch: Batch, of: Callable[[Outputs], T]) -> T | None:
        with torch.no_grad(), self.plan.autocast():
            return self._root(lambda: of(self.run(batch)))

    def backward(
        self, batches: Iterable[Batch], loss_of: LossOf, states: Sequence[torch.Tensor] | None = None
    ) -> list[Sums]:
        parts: list[Sums] = []
        for number, batch in enumerate(batches):
            if states is not None:
                torch.set_rng_state(states[number])
            loss, sums = self._root(lambda number=number, batch=batch: self._loss(number, batch, loss_of))
            loss.backward()
            parts.append(sums)
        return parts

    def join(self, parameters: Parameters) -> None:
        """Torch has added them up behind each block."""

    def part(self, name: str) -> Part:
        return Part(dim=0, start=self._rows(self.shapes[name][0]).start)

    def local(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to_local() if isinstance(tensor, DTensor) else tensor

    def narrow(self, name: str, whole: torch.Tensor) -> torch.Tensor:
        rows = self._rows(len(whole))
        return whole[rows.start : rows.stop]

    def wrap(self, like: torch.Tensor, local: torch.Tensor) -> torch.Tensor:
        assert isinstance(like, DTensor)
        return DTensor.from_local(
            local.contiguous(), like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
        )

    def _loss(self, number: int, batch: Batch, loss_of: LossOf) -> tuple[torch.Tensor, Sums]:
        with self.plan.autocast():
            return loss_of(number, self.run(batch))

    def _rows(self, length: int) -> range:
        """Rows of a weight that lie here: as many in all processes, until none are left."""
        size = -(-length // self.ranks.size)
        start = min(self.ranks.rank * size, length)
        return range(start, min(start + size, length))
