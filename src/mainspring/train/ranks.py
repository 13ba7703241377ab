"""The processes of a run, found and never assumed: one alone, or those that torchrun started.

They stand in a grid: a row holds the parts of one model between them (tensor or pipeline), a column holds the same
part and learns from other items. Without such parts every row is one process.

                      model rank 0    model rank 1
        data rank 0        0               1          both run batch after batch of the same items
        data rank 1        2               3

Counts are added up over all ranks before anything is scaled, gradients behind.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from mainspring.errors import ConfigError
from mainspring.progress import console

T = TypeVar("T")
Group = distributed.ProcessGroup
SHOWN = 40  # characters of a value in a list of differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process in the grid.

    rank, size, group: among those that hold the same part of the model and share the items of a step.
    model_rank, model_size, model_group: among those that run the same items through parts of the model.
    is_counted: its sums count; where several processes compute the same, one of them does. mesh: the grid, for
    torch. saving: a group for a thread of its own, whose calls may not mix with others.
    """

    rank: int = 0
    size: int = 1
    group: Group | None = None
    model_rank: int = 0
    model_size: int = 1
    model_group: Group | None = None
    is_counted: bool = True
    mesh: DeviceMesh | None = None
    saving: Group | None = None

    @property
    def world_rank(self) -> int:
        return self.rank * self.model_size + self.model_rank

    @property
    def world_size(self) -> int:
        return self.size * self.model_size

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.world_rank == 0

    def share(self, values: Sequence[T]) -> list[T]:
        """This rank's part of what a step takes."""
        return list(values[self.rank :: self.size])

    def total(self, parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
        """Sums by name over all parts of all ranks, the same on every rank."""
        sums: dict[str, float] = {}
        for part in parts if self.is_counted else ():
            for name, value in part.items():
                sums[name] = sums.get(name, 0.0) + value
        if self.world_size == 1:
            return sums
        totals: dict[str, float] = {}
        for others in gather(sums):
            for name, value in others.items():
                totals[name] = totals.get(name, 0.0) + value
        return totals

    def gather(self, value: T) -> list[T]:
        """What every rank that shares the items gave, in the order of ranks."""
        return [value] if self.size == 1 else gather(value, self.group)


def gather(value: T, group: Group | None = None) -> list[T]:
    """What every process of a group gave, in their order; of all processes where none is named."""
    if not _is_started():
        return [value]
    gathered: list[Any] = [None] * distributed.get_world_size(group)
    distributed.all_gather_object(gathered, value, group=group)
    return gathered


def from_first(value: T) -> T:
    """What the first of all processes gave."""
    if not _is_started():
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def is_first() -> bool:
    """Whether this process is alone or the first of all: it speaks and writes for them."""
    return not _is_started() or distributed.get_rank() == 0


def find_ranks(model_size: int = 1, counted: int = 0) -> Ranks:
    """All processes of torch.distributed where it was started, else this one alone.

    Args:
        model_size: how many processes hold the parts of one model.
        counted: the model rank whose sums count.

    Raises:
        ConfigError: so many processes cannot be put into such a grid.

    """
    size = distributed.get_world_size() if _is_started() else 1
    if size % model_size:
        raise ConfigError(
            f"`plan.tensor` or `plan.pipeline` asks for {model_size} processes a model, but there are {size}. Start a "
            f"multiple of {model_size}: `torchrun --nproc-per-node {model_size} -m mainspring train ...`."
        )
    if size == 1:
        return Ranks()
    mesh, saving = _grid(distributed.group.WORLD, size, model_size)
    return Ranks(
        rank=mesh.get_local_rank("data"), size=size // model_size, group=mesh.get_group("data"),
        model_rank=mesh.get_local_rank("model"), model_size=model_size, model_group=mesh.get_group("model"),
        is_counted=mesh.get_local_rank("model") == counted % model_size, mesh=mesh, saving=saving,
    )  # fmt: skip


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], at: str = ""
) -> list[tuple[str, str, str]]:
    """Dotted key and both values of all that is not the same."""
    found: list[tuple[str, str, str]] = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{at}{key}.")
        elif old != new:
            found.append((f"{at}{key}", _short(old), _short(new)))
    return found


def check_agreement(values: Mapping[str, Any]) -> None:
    """Hold against each other what every process is about to do.

    Raises:
        ConfigError: on all processes, where they do not agree; every difference is listed.

    """
    first, *others = gather(values)
    lines = [
        f"{key}: rank 0 has {old}, rank {rank} has {new}"
        for rank, theirs in enumerate(others, 1)
        for key, old, new in differences(first, theirs)
    ]
    if lines:
        raise ConfigError(
            "The ranks do not agree about what they train:\n  " + "\n  ".join(lines) + "\n"
            "Start all of them with the same command, versions, data and model."
        )


@contextmanager
def started() -> Iterator[None]:
    """Join the processes that torchrun started, for the length of a command; all but the first keep silent."""
    if _is_started() or int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    before, console.quiet = console.quiet, console.quiet or distributed.get_rank() > 0
    try:
        yield
    finally:
        console.quiet = before
        distributed.destroy_process_group()


@cache
def _grid(world: Group, size: int, model_size: int) -> tuple[DeviceMesh, Group]:
    """Made once: every process must make the same groups in the same order."""
    shape = (size // model_size, model_size)
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=("data", "model"))
    saving = distributed.new_group(distributed.get_process_group_ranks(world), backend="gloo")
    return mesh, saving  # type: ignore[return-value]


def _is_started() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else text[:16]
