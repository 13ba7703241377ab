"""A little of a run, made before it begins: how much memory its parts take, and how long.

    rollout, annotators -> the first steps' items
    optimizer           -> what it keeps of every weight
    a quarter           -> whether the largest batch would fit
    batches             -> peak of memory with gradients kept, seconds a token, what every new shape leaves behind

The optimizer is run on zero gradients at a learning rate of 0, so the weights stay those that they were.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch

from mainspring import device
from mainspring.train.batch import Batch, Item
from mainspring.train.feed import Step
from mainspring.train.optim import set_lr
from mainspring.train.session import Session

CLEAR_PEAK = "5"  # what Linux resets the peak of a process's memory for
SEEN_STEPS = 20  # whose items are counted, not run
MAX_BATCHES, PROBE_S = 14, 40.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a piece of work gave, the peak of resident memory during it, and how long it took."""

    peak_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The first steps: items and batches of the first, batches of those behind it, and what a usual step has.

    `making`: of a step's batches, answers and annotations among it; `warming_s` is what the first takes longer.
    """

    items: Sequence[Item]
    batches: Sequence[Batch]
    more: Sequence[Batch]
    making: Measured
    warming_s: float
    tokens_per_step: float
    batches_per_step: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Of batches that were run: peak of memory, seconds an id, and bytes that each left behind for good."""

    peak_bytes: int
    seconds_per_token: float
    kept_bytes_per_batch: float
    num_batches: int


def first_work(session: Session) -> Work:
    """Make the first step's batches as the run will, a few more to run, and count what is in some more steps."""
    steps = session.feed.steps(session.state.cursor)
    first = next(iter(steps))
    if session.learner.config.plan.compile:
        _make(session, first, 0)  # what annotators run is compiled once, and then no longer part of a step
    items, batches, making = _make(session, first, 0)
    tokens, more, warming_s = [sum(len(each.ids) for each in batches)], list[Batch](), 0.0
    if session.rollout is not None:
        _, more, again = _make(session, next(iter(steps), first), 1)
        tokens.append(sum(len(each.ids) for each in more))
        warming_s = max(0.0, making.seconds - again.seconds)
        making = Measured(peak_bytes=max(making.peak_bytes, again.peak_bytes), seconds=again.seconds)
    for number, step in enumerate(islice(steps, SEEN_STEPS) if session.rollout is None else (), 1):
        tokens.append(sum(map(_size, step.items)))
        if len(batches) + len(more) < MAX_BATCHES:
            more += session.learner.batches(session.items_of(step, number))
    mean = sum(tokens) / len(tokens)
    return Work(
        items=items, batches=batches, more=more, making=making, warming_s=warming_s, tokens_per_step=mean,
        batches_per_step=len(batches) * mean / tokens[0],
    )  # fmt: skip


def _make(session: Session, step: Step, number: int) -> tuple[list[Item], list[Batch], Measured]:
    """A step's items and batches, prompts answered."""
    items, answering = measured(lambda: session.items_of(step, number))
    batches, packing = measured(lambda: session.learner.batches(items))
    peak_bytes = max(answering.peak_bytes, packing.peak_bytes)
    return items, batches, Measured(peak_bytes=peak_bytes, seconds=answering.seconds + packing.seconds)


def optimize(session: Session) -> None:
    """A step of the optimizer that changes no weight, so that what it keeps is there."""
    learner = session.learner
    for parameter in learner.parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    learner.runner.clip(learner.parameters, learner.config.optim.max_grad_norm)
    set_lr(learner.optimizer, 0.0)
    learner.optimizer.step()
    learner.optimizer.zero_grad(set_to_none=True)


def quarter(session: Session, work: Work) -> Batch:
    """A batch of about a quarter of the largest one's tokens, of whole items; the largest where there is none."""
    largest = max(work.batches, key=lambda batch: len(batch.ids))
    chosen: list[Item] = []
    room = len(largest.ids) / 4
    for item in sorted(work.items, key=_size):
        if chosen and _size(item) > room:
            break
        chosen.append(item)
        room -= _size(item)
    (batch, *others) = session.learner.batches(chosen)
    return largest if others else batch


def run(session: Session, batch: Batch) -> None:
    """Forwards and backwards, gradients added up."""
    learner = session.learner
    learner.runner.model.train()  # dropout takes memory and time
    try:
        learner.backward([batch], batch.counts())
    finally:
        learner.runner.model.eval()


def run_some(session: Session, work: Work) -> Rate:
    """Run the first step's batches and some more, one after the other, for so many seconds at most; at least two.

    Where a step has several batches the gradients of the first are there when the next ones run, as in the run. Nothing
    that is free is given back between them: memory may grow by what does not fit.
    """
    optimizer, is_alone = session.learner.optimizer, len(work.batches) == 1
    ordered = [*sorted(work.batches, key=lambda batch: -len(batch.ids)), *work.more][:MAX_BATCHES]
    ordered = ordered if len(ordered) > 1 else ordered * 2
    began, peaks, seconds, tokens, left = time.perf_counter(), list[int](), 0.0, 0, 0
    optimizer.zero_grad(set_to_none=True)
    for number, batch in enumerate(ordered):
        if is_alone:
            optimizer.zero_grad(set_to_none=True)
        _, found = measured(lambda batch=batch: run(session, batch), releases=number == 0)
        peaks.append(found.peak_bytes)
        if number == 0:
            left = resident()
            continue  # the first is slower: it allocates
        seconds, tokens = seconds + found.seconds, tokens + len(batch.ids)
        if time.perf_counter() - began > PROBE_S:
            break
    kept = max(0, resident() - left) / (len(peaks) - 1)
    optimizer.zero_grad(set_to_none=True)
    return Rate(
        peak_bytes=max(peaks),
        seconds_per_token=seconds / tokens,
        kept_bytes_per_batch=kept,
        num_batches=len(peaks),
    )


def measured(work: Callable[[], T], *, releases: bool = True) -> tuple[T, Measured]:
    """Peak of resident memory while it runs, and how long it takes."""
    if releases:
        device.release_memory()
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text(CLEAR_PEAK)
    began = time.perf_counter()
    made = work()
    seconds = time.perf_counter() - began
    return made, Measured(peak_bytes=device.peak_rss_bytes(), seconds=seconds)


def resident() -> int:
    """What this process has of memory, when it has given back what it does not use."""
    import psutil

    device.release_memory()
    return psutil.Process().memory_info().rss


def available(resident_bytes: int) -> int:
    """Memory that this process may come to: what is free, and what it has."""
    import psutil

    return psutil.virtual_memory().available + resident_bytes


def _size(item: Item) -> int:
    return sum(each.num_tokens + len(each.source) for each in item)
