"""What takes less memory, and what is said when there was not enough of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from mainspring.errors import MainspringError
from mainspring.models.model import Model
from mainspring.train.config import TrainConfig
from mainspring.train.state import saved

ASKED = re.compile(r"(?:tried|trying) to allocate ([\d.,]+ ?\w+)", re.IGNORECASE)
UNITS = {"B": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class OutOfMemoryError(MainspringError):
    """The system gave a run no more memory; says what was asked for and what needs less."""


@contextmanager
def memory_told(model: Model, config: TrainConfig, state_dir: Path) -> Iterator[None]:
    """Whatever is raised in the block for want of memory becomes one error that says how to go on.

    Raises:
        OutOfMemoryError: there was not enough memory.

    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        states = saved(state_dir)
        kept = f"The last whole state is {states[-1]}." if states else "No state had been saved yet."
        raise OutOfMemoryError(
            f"The run asked for {asked_for(error)} that the system does not give. {kept} What helps: "
            f"{'; '.join(knobs(model, config))}."
        ) from error


def is_memory(error: Exception) -> bool:
    """Whether it was raised for want of memory: torch's processor allocator raises a plain RuntimeError."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "can't allocate memory" in str(error) or "bad_alloc" in str(error)


def asked_for(error: Exception) -> str:
    """How much was asked for, as people say it."""
    found = ASKED.search(str(error))
    if found is None:
        return "memory"
    number, unit = re.fullmatch(r"([\d.,]+) ?(\w+)", found[1]).groups()  # type: ignore[union-attr] - of the same form
    if unit not in UNITS:
        return found[1]
    size = float(number.replace(",", "")) * UNITS[unit]
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def knobs(model: Model, config: TrainConfig) -> list[str]:
    """Settings that need less memory than a run's own."""
    plan = config.plan
    found = [f"a smaller `train.plan.micro_batch_tokens` (now {plan.micro_batch_tokens:,})"]
    if not plan.checkpointing:
        found.append("`train.plan.checkpointing=true`, which keeps fewer activations")
    if plan.dtype in ("fp32", "fp64"):
        found.append("`train.plan.dtype=bf16`, whose activations take half or less")
    if config.save_in_background:
        found.append("`train.save_in_background=false`, which keeps no copy of what is saved")
    if all(each.requires_grad for each in model.parameters()):
        found.append("`transform.kind=lora` or qlora, which train few weights")
    return found
