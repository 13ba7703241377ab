"""Penalties that hold a model near what it was, or its scores near zero.

Shapes: N trained tokens of a batch, V vocabulary.
"""

from typing import Literal

from pydantic import Field

from mainspring.train.batch import Batch
from mainspring.train.objectives.base import Loss, Penalty
from mainspring.train.objectives.divergence import Estimator, estimate, kl
from mainspring.train.outputs import Outputs


class Kl(Penalty):
    """KL(model || reference) of the trained tokens, weighted, counted in tokens.

    full: over the whole vocabulary. k1, k2, k3: read off the trained tokens themselves, which is the divergence only
    where the model said them (divergence.py).
    """

    kind: Literal["kl"] = "kl"
    coefficient: float = Field(default=0.1, gt=0, description="what is added is this times the divergence")
    over: Literal["full"] | Estimator = Field(default="full", description="how the divergence is taken")

    @property
    def needs(self) -> tuple[str, ...]:
        return ("reference_logits",) if self.over == "full" else ("reference_logp",)

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        at_N = batch.trained()
        if self.over == "full":
            reference_NV = batch.extras["reference_logits"].log_softmax(-1)
            kl_N = kl(outputs.trained_logits_NV.log_softmax(-1), reference_NV)
        else:
            kl_N = estimate(outputs.trained_logp_N, batch.extras["reference_logp"][at_N], self.over)
        return Loss(sum=(kl_N * batch.weight[at_N]).sum(), count_key="tokens")


class ZLoss(Penalty):
    """(log of the sum of exp(scores))^2 of the trained tokens, weighted, counted in tokens.

    Scores that drift away lose digits. Paper: arXiv:2204.02311, section 5.
    """

    kind: Literal["z_loss"] = "z_loss"
    coefficient: float = Field(default=1e-4, gt=0, description="what is added is this times the square")

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        z_N = outputs.trained_logits_NV.logsumexp(-1)
        return Loss(sum=(z_N.square() * batch.weight[batch.trained()]).sum(), count_key="tokens")
