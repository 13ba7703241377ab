"""What some objectives need beside the model's outputs: more numbers a token, made before the step, without gradients.

An objective names them (`Objective.needs`); here stands who makes each.

Shapes: T tokens of a batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch

from mainspring.adapt import lora
from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.train.batch import Batch
from mainspring.train.outputs import Outputs
from mainspring.train.parallel import Runner


class Annotator(Protocol):
    """Makes one extra of a batch; it may read those that were made before it."""

    adds: str

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Numbers of every token, (T, ...)."""
        ...


class ReferenceLogp:
    """log p(target) under the reference: the model without its adapter or, where its own weights train, as it was."""

    adds = "reference_logp"

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._frozen = None if lora.active(runner.model) else runner.frozen()

    def __call__(self, batch: Batch) -> torch.Tensor:
        if self._frozen is not None:
            return look(self._frozen, batch, lambda outputs: outputs.logp_T)
        with without_adapter(self._runner.model):
            return look(self._runner, batch, lambda outputs: outputs.logp_T)


class OldLogp:
    """log p(target) under the model as it is before the updates that learn from this batch."""

    adds = "old_logp"

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def __call__(self, batch: Batch) -> torch.Tensor:
        return look(self._runner, batch, lambda outputs: outputs.logp_T)


MAKERS = {maker.adds: maker for maker in (ReferenceLogp, OldLogp)}


def find_annotators(
    needs: Sequence[str], runner: Runner, given: Sequence[Annotator], name: str
) -> list[Annotator]:
    """Those that were given and those that can be made from the model, in the order of needs.

    Raises:
        ConfigError: nobody makes what is needed.

    """
    by_name = {each.adds: each for each in given}
    for need in needs:
        if need not in by_name and need in MAKERS:
            by_name[need] = MAKERS[need](runner)
    missing = [need for need in needs if need not in by_name]
    if missing:
        raise ConfigError(
            f"The objective '{name}' needs {', '.join(missing)} for every token, and nothing here makes it. Give the "
            "source or the annotator that does."
        )
    return list(by_name.values())


def look(runner: Runner, batch: Batch, of: Callable[[Outputs], torch.Tensor]) -> torch.Tensor:
    """What is made of a model's outputs; zeros where another process knows it, which then needs it too."""
    found = runner.look(batch, of)
    return torch.zeros(len(batch.ids)) if found is None else found


@torch.no_grad()
def annotate(batch: Batch, annotators: Sequence[Annotator]) -> Batch:
    """The batch with what the annotators add; what a source brought already stays."""
    for annotator in annotators:
        if annotator.adds not in batch.extras:
            batch = batch.with_extra(annotator.adds, annotator(batch))
    return batch


@contextmanager
def without_adapter(model: Model) -> Iterator[None]:
    """The model as its adapters found it."""
    before = lora.active(model)
    lora.activate(model, None)
    try:
        yield
    finally:
        lora.activate(model, before)
