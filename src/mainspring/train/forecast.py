"""What a run will take, said before its first step: a little of it is run, measured, and carried on to the rest.

A quarter of the first step's largest batch is run forwards and backwards, then, if what follows from it fits this
machine, the whole batch, and the optimizer once on zero gradients at a learning rate of 0. The weights are those
they were.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import torch

from mainspring import device
from mainspring.errors import MainspringError
from mainspring.train.batch import Batch, Item
from mainspring.train.session import Session

CLEAR_PEAK = "5"  # what Linux resets the peak of a process's memory for
ROOM = 0.9  # of the machine's memory that a run may take


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes in bytes, times in seconds; `peak_bytes` is the process's largest resident memory."""

    num_steps: int
    parameters: int
    trained_parameters: int
    tokens_per_step: float
    batches_per_step: int
    peak_bytes: int
    available_bytes: int
    seconds_per_step: float
    seconds: float

    @property
    def fits(self) -> bool:
        return self.peak_bytes <= ROOM * self.available_bytes


class DoesNotFitError(MainspringError):
    """A run needs more memory than there is; says which settings need less."""


def forecast(session: Session) -> Forecast:
    """Measure a little of a run that has not begun.

    Raises:
        DoesNotFitError: the run would not fit this machine's memory.

    """
    learner = session.learner
    items = next(iter(session.feed.steps(session.state.cursor))).items
    if session.rollout is not None:
        items = session.rollout(items, 0)
    batches = learner.batches(items)
    largest = max(batches, key=lambda batch: len(batch.ids))
    _optimize(session)
    copied = session.saver.copied_bytes
    part = _quarter(session, items, largest)
    part_bytes, part_s = _measure(lambda: _run(session, part))
    idle = _resident()
    most = max(
        len(largest.ids), min(session.config.plan.micro_batch_tokens, sum(len(each.ids) for each in batches))
    )
    scale = most / len(part.ids)
    expected = int(idle + (part_bytes - idle) * scale) + copied
    available = _available(idle)
    if expected <= ROOM * available and part is not largest:
        whole_bytes, part_s = _measure(lambda: _run(session, largest))
        scale = most / len(largest.ids)
        expected = int(idle + (whole_bytes - idle) * scale) + copied
        part = largest
    _, optimizer_s = _measure(lambda: _optimize(session))
    tokens = sum(len(batch.ids) for batch in batches)
    seconds = part_s * tokens / len(part.ids) + optimizer_s
    session.learner.optimizer.state.clear()
    found = Forecast(
        num_steps=session.num_steps, parameters=sum(each.numel() for each in learner.model.parameters()),
        trained_parameters=sum(each.numel() for each in learner.parameters.values()), tokens_per_step=tokens,
        batches_per_step=len(batches), peak_bytes=expected, available_bytes=available, seconds_per_step=seconds,
        seconds=seconds * session.num_steps,
    )  # fmt: skip
    if not found.fits:
        raise DoesNotFitError(_advice(session, found))
    return found


def _run(session: Session, batch: Batch) -> None:
    learner = session.learner
    learner.optimizer.zero_grad(set_to_none=True)
    learner.backward([batch], batch.counts())


def _optimize(session: Session) -> None:
    """A step of the optimizer that changes no weight, so that what it keeps is there."""
    learner = session.learner
    for parameter in learner.parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    for group in learner.optimizer.param_groups:
        group["lr"] = 0.0
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)


def _quarter(session: Session, items: Sequence[Item], largest: Batch) -> Batch:
    """A batch of about a quarter of the largest one's tokens, of whole items; the largest where there is none."""
    chosen: list[Item] = []
    room = len(largest.ids) / 4
    for item in sorted(items, key=lambda item: sum(each.num_tokens for each in item)):
        size = sum(each.num_tokens for each in item)
        if chosen and size > room:
            break
        chosen.append(item)
        room -= size
    (batch, *others) = session.learner.batches(chosen)
    return largest if others else batch


def _measure(work: Callable[[], None]) -> tuple[int, float]:
    """Peak of resident memory while it runs, and how long it takes."""
    device.release_memory()
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text(CLEAR_PEAK)
    began = time.perf_counter()
    work()
    seconds = time.perf_counter() - began
    return device.peak_rss_bytes(), seconds


def _resident() -> int:
    import psutil

    device.release_memory()
    return psutil.Process().memory_info().rss


def _available(resident: int) -> int:
    """Memory that this process may come to: what is free, and what it has."""
    import psutil

    return psutil.virtual_memory().available + resident


def _advice(session: Session, found: Forecast) -> str:
    plan = session.config.plan
    knobs = [f"a smaller `train.plan.micro_batch_tokens` (now {plan.micro_batch_tokens:,})"]
    if not plan.checkpointing:
        knobs.append("`train.plan.checkpointing=true`, which keeps fewer activations")
    if session.config.save_in_background:
        knobs.append("`train.save_in_background=false`, which keeps no copy of what is saved")
    if found.trained_parameters == found.parameters:
        knobs.append("`transform.kind=lora` or qlora, which train few weights")
    return (
        f"The run would need about {found.peak_bytes / 1e9:.1f} GB; this machine can give "
        f"{ROOM * found.available_bytes / 1e9:.1f} GB. What helps: {'; '.join(knobs)}."
    )
