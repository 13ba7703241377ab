"""Direct preference optimization and its kin: an answer becomes likelier than another one to the same prompt.

Shapes: T tokens of a batch, S segments, P pairs.
"""

from typing import ClassVar, Literal, Self

import pydantic
import torch
from pydantic import Field

from mainspring.train.batch import Batch
from mainspring.train.objectives.base import Loss, Objective
from mainspring.train.objectives.pairs import LOSSES, num_tokens, rows_of, told_in_vain
from mainspring.train.outputs import Outputs

LossName = Literal[
    "dpo", "robust", "ipo", "hinge", "apo_zero", "apo_down", "nca", "sppo", "cpo", "simpo", "orpo"
]
KNOBS = ("label_smoothing", "gamma")


class Preference(Objective):
    """A loss of pairs (pairs.py); items are one segment "chosen" and one "rejected", counted in groups.

    A pair's implicit rewards are beta times what the loss compares; accuracy is how often the chosen one is higher.
    """

    kind: Literal["preference"] = "preference"
    couples: ClassVar[bool] = True
    loss: LossName = Field(default="dpo", description="how the two answers of a pair are compared")
    beta: float = Field(
        default=0.1, gt=0, description="how much a log-ratio counts: higher stays closer to the reference"
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=0.5, description="share of pairs taken to be the wrong way round (dpo: cDPO)"
    )
    gamma: float = Field(default=0.0, ge=0, description="by how much the chosen answer is to win (simpo)")
    per_token: bool = Field(
        default=False,
        description="take means over tokens instead of sums (ipo: as its authors later did; simpo, orpo: always)",
    )
    sft_coefficient: float = Field(
        default=0.0,
        ge=0,
        description="weight of the chosen answer's mean negative log-likelihood (arXiv:2404.19733, eq. 1); orpo and "
        "cpo have it once by themselves",
    )

    @pydantic.model_validator(mode="after")
    def _says_nothing_in_vain(self) -> Self:
        if vain := told_in_vain(self.loss, [knob for knob in KNOBS if getattr(self, knob)]):
            raise ValueError(f"'{self.loss}' has no {' and no '.join(vain)}; leave it out")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        return ("reference_logp",) if LOSSES[self.loss].has_reference else ()

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        kind = LOSSES[self.loss]
        chosen, rejected = rows_of(batch)
        num_S = num_tokens(batch)
        logp_S = batch.segment_sum(outputs.logp_T * batch.weight)
        compared_S = logp_S
        if kind.has_reference:
            compared_S = logp_S - batch.segment_sum(batch.extras["reference_logp"] * batch.weight)
        if kind.is_per_token or self.per_token:
            compared_S = compared_S / num_S
        loss_P = kind.loss(compared_S[chosen], compared_S[rejected], self)
        sft = self.sft_coefficient + kind.learns_chosen
        if sft:
            loss_P = loss_P - sft * (logp_S / num_S)[chosen]
        return Loss(
            sum=loss_P.sum(), count_key="groups", metrics=self._metrics(compared_S.detach(), chosen, rejected)
        )

    def _metrics(self, compared_S: torch.Tensor, chosen: list[int], rejected: list[int]) -> dict[str, float]:
        reward_S = self.beta * compared_S
        margin_P = reward_S[chosen] - reward_S[rejected]
        return {
            "accuracy": float((margin_P > 0).sum()),
            "margin": float(margin_P.sum()),
            "chosen_reward": float(reward_S[chosen].sum()),
            "rejected_reward": float(reward_S[rejected].sum()),
        }
