"""What an objective is: from a model's outputs to a sum and what the sum is counted in.

Its settings are the objective: a frozen record with a `kind`, called with outputs and batch.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import nn

from mainspring.config import Config
from mainspring.models.model import Model
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.annotate import Annotator
from mainspring.train.batch import Batch, Segment
from mainspring.train.outputs import Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """`sum` over the batch (scalar, at least fp32, differentiable); `count_key` names the entry of
    Batch.counts() that the sums of a whole step are divided by; `metrics` are sums of the same count.
    """

    sum: torch.Tensor
    count_key: str
    metrics: Mapping[str, float] = field(default_factory=dict)


class Objective(Config):
    """A kind of loss that adds up over batches and ranks.

    couples: the segments of an item are compared, so they lie in one batch. needs: names of the extras that
    annotators add to a batch before the step (annotate.py). watches_routers: outputs keep what routers of experts said.
    """

    kind: Any
    couples: ClassVar[bool] = False
    watches_routers: ClassVar[bool] = False

    @property
    def needs(self) -> tuple[str, ...]:
        return ()

    def annotators(self) -> Sequence[Annotator]:
        """Those that its own settings describe."""
        return ()

    def fitted(self, tokenizer: Tokenizer) -> Self:
        """With what it needs to know of a tokenizer."""
        return self

    def view(self, segment: Segment, draw: random.Random) -> Segment:
        """What this objective sees of a segment: the segment itself, or one with tokens hidden at random."""
        return segment

    def prepare(self, model: Model) -> None:
        """Add to the model what this objective trains beside it, before anything is counted or loaded."""

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        """Sum of the loss over the batch."""
        raise NotImplementedError


class JointObjective(Objective):
    """A loss that does not add up, because it compares what lies in different batches.

    The loop makes the features of all batches and ranks without gradients, differentiates `joint` with respect to
    them, and runs every batch once more with that gradient (arXiv:2101.06983): accumulation and ranks stay exact.
    """

    def features(self, outputs: Outputs, batch: Batch) -> torch.Tensor:
        """What is compared, the first dimension free."""
        raise NotImplementedError

    def joint(self, features: Sequence[torch.Tensor], batches: Sequence[Batch]) -> Loss:
        """The sum over all batches of the step."""
        raise NotImplementedError

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        return self.joint([self.features(outputs, batch)], [batch])


class Penalty(Objective):
    """What is added to an objective's loss, `coefficient` times."""

    coefficient: float


class WeightPenalty(Config):
    """What is added once a step and depends on the weights alone."""

    kind: Any
    coefficient: float

    def fingerprint(self) -> dict[str, Any]:
        """What decides it, as JSON values: its settings, and of files what is in them."""
        return self.model_dump(mode="json")

    def of_weights(self, parameters: Mapping[str, nn.Parameter]) -> torch.Tensor:
        """The penalty, a scalar, before its coefficient."""
        raise NotImplementedError


class Regulator(Config):
    """What moves numbers that no gradient does, after each update, by what the step's outputs showed."""

    kind: Any
    watches_routers: ClassVar[bool] = False

    def observe(self, outputs: Outputs) -> torch.Tensor:
        """What a batch showed; it adds up over the batches and ranks of a step."""
        raise NotImplementedError

    def regulate(self, model: nn.Module, observed: torch.Tensor) -> dict[str, float]:
        """Move the numbers, in place; tells metrics."""
        raise NotImplementedError

    def moves(self, model: nn.Module) -> Mapping[str, torch.Tensor]:
        """The numbers by name: part of a run's state."""
        raise NotImplementedError


Addition = Penalty | WeightPenalty | Regulator
"""What a run has beside its objective."""
