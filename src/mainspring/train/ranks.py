"""The processes that share the items of a step, found and never assumed: one alone, or those of torchrun.

Every rank runs its own items. Counts are added up over all ranks before anything is scaled, gradients behind.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed, nn

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process among those that share a step."""

    rank: int = 0
    size: int = 1
    group: distributed.ProcessGroup | None = None

    def share(self, values: Sequence[T]) -> list[T]:
        """This rank's part of what a step takes."""
        return list(values[self.rank :: self.size])

    def total(self, parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
        """Sums by name over all parts of all ranks, the same on every rank."""
        sums: dict[str, float] = {}
        for part in parts:
            for name, value in part.items():
                sums[name] = sums.get(name, 0.0) + value
        if self.size == 1:
            return sums
        totals: dict[str, float] = {}
        for others in self.gather(sums):
            for name, value in others.items():
                totals[name] = totals.get(name, 0.0) + value
        return totals

    def gather(self, value: Any) -> list[Any]:
        """What every rank gave, in the order of ranks."""
        if self.size == 1:
            return [value]
        gathered: list[Any] = [None] * self.size
        distributed.all_gather_object(gathered, value, group=self.group)
        return gathered

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Every rank's gradients become the sum of all."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad, group=self.group)


def find_ranks() -> Ranks:
    """All processes of torch.distributed where it was started, else this one alone."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Ranks()
    return Ranks(rank=distributed.get_rank(), size=distributed.get_world_size())
