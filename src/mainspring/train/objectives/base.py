"""What an objective is: from a model's outputs to a sum and what the sum is counted in.

Shapes: T tokens of a batch, N chosen ones, D model width, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch

from mainspring.models.attend import PackedAttend
from mainspring.models.model import Model
from mainspring.train.batch import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """`sum` over the batch (scalar, fp32, differentiable); `count_key` names the entry of Batch.counts() that
    the sums of a whole step are divided by; `metrics` are sums of the same count.
    """

    sum: torch.Tensor
    count_key: str
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the model said of a batch; logits are computed where they are asked for, and nowhere else."""

    model: Model
    hidden_TD: torch.Tensor

    def logits(self, at_N: torch.Tensor) -> torch.Tensor:
        """Scores of the next token after each of the tokens at these indices, (N, V)."""
        return self.model.logits(self.hidden_TD.index_select(0, at_N))


class Objective(Protocol):
    """A kind of loss."""

    name: str

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        """Sum of the loss over the batch."""
        ...


def run_model(model: Model, batch: Batch) -> Outputs:
    """Run the model over a batch, each segment for itself."""
    return Outputs(model, model(batch.ids, batch.pos, PackedAttend(batch.lengths)))
