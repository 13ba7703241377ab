"""Learning from answers that are good or bad by themselves, without pairs.

Paper: arXiv:2402.01306, section 4.1. An answer's value is weighed against the divergence from the reference, which is
one number for a whole step, so the loss is joint.

Shapes: T tokens of a batch, S segments, A answers.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field

from mainspring.errors import ConfigError
from mainspring.train.batch import Batch, Place
from mainspring.train.objectives.base import JointObjective, Loss
from mainspring.train.objectives.pairs import CHOSEN, REJECTED
from mainspring.train.outputs import Outputs
from mainspring.train.sources.judged import MISMATCHED


class Kto(JointObjective):
    """weight * (1 - sigmoid(+-beta (log-ratio - z))), counted in answers.

    An answer is desirable if its label is above 0.5 or its role "chosen". The reference point z is the mean
    log-ratio, at least 0 and without gradient, of the step's segments of role "mismatched" (another prompt's answer);
    of a step without any, it is that of the answers themselves, which the paper finds slightly worse.
    """

    kind: Literal["kto"] = "kto"
    beta: float = Field(
        default=0.1, gt=0, description="how much a log-ratio counts: higher stays closer to the reference"
    )
    desirable_weight: float = Field(default=1.0, ge=0, description="of the good answers")
    undesirable_weight: float = Field(default=1.0, ge=0, description="of the bad answers")

    @property
    def needs(self) -> tuple[str, ...]:
        return ("reference_logp",)

    def features(self, outputs: Outputs, batch: Batch) -> torch.Tensor:
        """The log-ratio of every segment, (S,)."""
        return batch.segment_sum((outputs.logp_T - batch.extras["reference_logp"]) * batch.weight)

    def joint(self, features: Sequence[torch.Tensor], batches: Sequence[Batch]) -> Loss:
        """Over all answers of the step. What is counted are segments, those mismatched among them: hence the factor."""
        places = [place for batch in batches for place in batch.segments]
        ratio_S = torch.cat(list(features))
        answers = [row for row, place in enumerate(places) if place.role != MISMATCHED]
        apart = [row for row, place in enumerate(places) if place.role == MISMATCHED] or answers
        is_good_A = torch.tensor([is_desirable(places[row]) for row in answers])
        point = reference_point(ratio_S[apart])
        loss_A = kto(ratio_S[answers], is_good_A, point, self.beta)
        weights = [
            self.desirable_weight if is_good else self.undesirable_weight for is_good in is_good_A.tolist()
        ]
        weight_A = torch.tensor(weights, dtype=loss_A.dtype)
        factor = len(places) / len(answers)
        right_A = (ratio_S[answers].detach() > point) == is_good_A
        metrics = {"accuracy": float(right_A.sum()), "kl": float(point) * len(answers)}
        return Loss(
            sum=(weight_A * loss_A).sum() * factor,
            count_key="segments",
            metrics={name: value * factor for name, value in metrics.items()},
        )


def reference_point(ratio_S: torch.Tensor) -> torch.Tensor:
    """max(0, mean log-ratio): an estimate of the divergence, without gradient."""
    return ratio_S.detach().mean().clamp(min=0)


def kto(ratio_A: torch.Tensor, is_good_A: torch.Tensor, point: torch.Tensor, beta: float) -> torch.Tensor:
    """1 - sigmoid(beta (r - z)) of good answers, 1 - sigmoid(beta (z - r)) of bad ones, (A,)."""
    sign_A = torch.where(is_good_A, 1.0, -1.0).to(ratio_A.dtype)
    return 1 - (beta * sign_A * (ratio_A - point)).sigmoid()


def is_desirable(place: Place) -> bool:
    """Whether an answer is a good one.

    Raises:
        ConfigError: nothing says so.

    """
    if place.label is not None:
        return place.label > 0.5
    if place.role not in (CHOSEN, REJECTED):
        raise ConfigError(
            f"{place.name} has neither a label nor a role 'chosen' or 'rejected', so nothing says whether it is good. "
            "Give a label, 1 or 0."
        )
    return place.role == CHOSEN
