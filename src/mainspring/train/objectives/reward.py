"""A judge: one number for a conversation, higher for the answer that people prefer.

Papers: arXiv:1706.03741, eq. 1 (Bradley-Terry); arXiv:2307.09288, eq. 2 (margins); arXiv:2312.09244, eq. 7 (centered).

Shapes: S segments, P pairs.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch.nn.functional import logsigmoid

from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.train.batch import Batch
from mainspring.train.objectives.base import Loss, Objective
from mainspring.train.objectives.classify import scores_of
from mainspring.train.objectives.pairs import rows_of
from mainspring.train.outputs import Outputs


class Reward(Objective):
    """-log sigmoid(chosen - rejected - margin), counted in groups; the model has a head with one label.

    A pair's margin is `margin` times the difference of its segments' `reward`.
    """

    kind: Literal["reward"] = "reward"
    couples: ClassVar[bool] = True
    margin: float = Field(
        default=0.0, ge=0, description="by how much a known difference of rewards is to be exceeded"
    )
    centering: float = Field(
        default=0.0, ge=0, description="coefficient of (chosen + rejected)^2, which keeps scores around 0"
    )

    def prepare(self, model: Model) -> None:
        """Train the head too, where an adapter froze it.

        Raises:
            ConfigError: a model whose head does not give one number.

        """
        head = model.config.head
        if head is None or head.kind != "classify" or head.num_labels != 1 or model.head is None:
            raise ConfigError(
                "A reward is one number, but the model's head gives none. Set `head: {kind: classify, num_labels: 1}`."
            )
        model.head.requires_grad_(True)

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        score_S = scores_of(outputs, batch).squeeze(1)
        chosen, rejected = rows_of(batch)
        ahead_P = score_S[chosen] - score_S[rejected]
        margin_P = torch.zeros_like(ahead_P)
        if self.margin:
            margin_P = self.margin * (_rewards(batch, chosen) - _rewards(batch, rejected))
        loss_P = bradley_terry(score_S[chosen], score_S[rejected], margin_P)
        loss_P = loss_P + self.centering * (score_S[chosen] + score_S[rejected]) ** 2
        metrics = {"accuracy": float((ahead_P > 0).sum()), "margin": float(ahead_P.detach().sum())}
        return Loss(sum=loss_P.sum(), count_key="groups", metrics=metrics)


def bradley_terry(chosen_P: torch.Tensor, rejected_P: torch.Tensor, margin_P: torch.Tensor) -> torch.Tensor:
    """-log of the probability that the chosen one wins by the margin, (P,)."""
    return -logsigmoid(chosen_P - rejected_P - margin_P)


def _rewards(batch: Batch, rows: list[int]) -> torch.Tensor:
    rewards = [batch.segments[row].reward for row in rows]
    if None in rewards:
        raise ConfigError(
            f"{batch.segments[rows[rewards.index(None)]].name} has no reward, which `objective.margin` is a multiple "
            "of. Give both answers of every pair one, or set the margin to 0."
        )
    return torch.tensor(rewards, dtype=torch.float64)
