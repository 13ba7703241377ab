"""What some objectives need beside the model's outputs: more numbers a token, made before the step, without gradients.

An objective names them (`Objective.needs`); here stands who makes each.

Shapes: T tokens of a batch, N of them trained, V vocabulary, k the likeliest of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, Protocol

import torch

from mainspring.adapt import base as adapters
from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.train.batch import Batch
from mainspring.train.outputs import Outputs, run_model
from mainspring.train.parallel import Runner
from mainspring.train.values import values


class Annotator(Protocol):
    """Makes an extra of a batch; it may read those that were made before it."""

    @property
    def adds(self) -> str: ...

    def __call__(self, batch: Batch) -> torch.Tensor | Mapping[str, torch.Tensor]:
        """Numbers of every token, (T, ...); of one that makes several extras, all of them by name."""
        ...


class LateAnnotator(ABC):
    """Makes what is too large to keep for all batches of a step: it is asked anew for every forward.

    It may give numbers of the trained tokens alone, (N, ...), in the order of `batch.trained()`.
    """

    adds: ClassVar[str]

    @abstractmethod
    def __call__(self, batch: Batch) -> torch.Tensor: ...


class _Reference:
    """The model without its adapter or, where its own weights train, a frozen copy of it as it was."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._frozen = None if adapters.active(runner.model) else runner.frozen()

    def look(self, batch: Batch, of: Callable[[Outputs], torch.Tensor]) -> torch.Tensor:
        if self._frozen is not None:
            return look(self._frozen, batch, of)
        with without_adapter(self._runner.model):
            return look(self._runner, batch, of)


class ReferenceLogp:
    """log p(target) under the reference."""

    adds = "reference_logp"

    def __init__(self, runner: Runner) -> None:
        self._reference = _Reference(runner)

    def __call__(self, batch: Batch) -> torch.Tensor:
        return self._reference.look(batch, lambda outputs: outputs.logp_T)


class OldLogp:
    """log p(target) under the model as it is before the updates that learn from this batch."""

    adds = "old_logp"

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(self, batch: Batch) -> torch.Tensor:
        return look(self._runner, batch, lambda outputs: outputs.logp_T)


class Value:
    """What the value head expects before each trained token, as it is before the updates that learn from this batch."""

    adds = "value"

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(self, batch: Batch) -> torch.Tensor:
        return look(self._runner, batch, values)


class ReferenceLogits(LateAnnotator):
    """Scores of the reference at the trained tokens, (N, V)."""

    adds = "reference_logits"

    def __init__(self, runner: Runner) -> None:
        self._reference = _Reference(runner)

    def __call__(self, batch: Batch) -> torch.Tensor:
        return self._reference.look(batch, lambda outputs: outputs.trained_logits_NV)


class TeacherLogits(LateAnnotator):
    """Scores of a teacher at the trained tokens, (N, V)."""

    adds = "teacher_logits"

    def __init__(self, teacher: Model) -> None:
        self._teacher = teacher

    def __call__(self, batch: Batch) -> torch.Tensor:
        return run_model(self._teacher, batch).trained_logits_NV


class TeacherTopK:
    """The k tokens that a teacher finds likeliest at every trained token, and their log-probabilities: (T, k) each."""

    adds = "teacher_logp"

    def __init__(self, teacher: Model, k: int) -> None:
        self._teacher, self._k = teacher, k

    def __call__(self, batch: Batch) -> dict[str, torch.Tensor]:
        logp_NV = run_model(self._teacher, batch).trained_logits_NV.log_softmax(-1)
        logp_Nk, ids_Nk = logp_NV.topk(self._k, dim=-1)
        at_N, size = batch.trained(), (len(batch.ids), self._k)
        return {
            "teacher_ids": ids_Nk.new_zeros(size).index_copy(0, at_N, ids_Nk),
            "teacher_logp": logp_Nk.new_zeros(size).index_copy(0, at_N, logp_Nk),
        }


MAKERS = {maker.adds: maker for maker in (ReferenceLogp, ReferenceLogits, OldLogp, Value)}


def find_annotators(needs: Sequence[str], runner: Runner, given: Sequence[Annotator]) -> list[Annotator]:
    """Those that can be made from the model and those that were given, in the order of needs."""
    by_name = {each.adds: each for each in given}
    for need in needs:
        if need not in by_name and need in MAKERS:
            by_name[need] = MAKERS[need](runner)
    wanted = [by_name[need] for need in needs if need in by_name]
    return [*wanted, *(each for each in given if each.adds not in needs)]


def look(runner: Runner, batch: Batch, of: Callable[[Outputs], torch.Tensor]) -> torch.Tensor:
    """What is made of a model's outputs; zeros where another process knows it, which is the one that needs it."""
    found = runner.look(batch, of)
    return torch.zeros(len(batch.ids)) if found is None else found


@torch.no_grad()
def annotate(batch: Batch, annotators: Sequence[Annotator]) -> Batch:
    """The batch with what the annotators add; what a source brought already stays."""
    for annotator in annotators:
        if annotator.adds not in batch.extras:
            made = annotator(batch)
            for name, values_T in (
                {annotator.adds: made} if isinstance(made, torch.Tensor) else made
            ).items():
                batch = batch.with_extra(name, values_T)
    return batch


def check_needs(batch: Batch, needs: Sequence[str], late: Sequence[Annotator], name: str) -> None:
    """See that somebody gave the batch what the objective needs, or will.

    Raises:
        ConfigError: neither the source nor an annotator has.

    """
    missing = sorted({*needs} - {*batch.extras} - {each.adds for each in late})
    if missing:
        raise ConfigError(
            f"The objective '{name}' needs {', '.join(missing)} for every token, and nothing here makes it. Give the "
            "source or the annotator that does."
        )


@contextmanager
def without_adapter(model: Model) -> Iterator[None]:
    """The model as its adapters found it."""
    before = adapters.active(model)
    adapters.activate(model, None)
    try:
        yield
    finally:
        adapters.activate(model, before)
