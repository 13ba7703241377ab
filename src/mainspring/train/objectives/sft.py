"""Supervised fine-tuning: cross entropy of the next token, weighted; weight 1 everywhere makes it plain CLM.

Shapes: T tokens of a batch, N of them trained, V vocabulary.
"""

from typing import Literal

import torch

from mainspring.train.batch import Batch
from mainspring.train.objectives.base import Loss, Objective
from mainspring.train.outputs import Outputs


class Sft(Objective):
    """-sum over trained tokens of weight * log p(target), counted in trained tokens."""

    kind: Literal["sft"] = "sft"

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        at_N = batch.trained()
        weight_N = batch.weight[at_N]
        right_N = outputs.trained_logits_NV.detach().argmax(-1) == batch.target[at_N]
        return Loss(
            sum=-(outputs.trained_logp_N * weight_N).sum(),
            count_key="tokens",
            metrics={"accuracy": float(weight_N[right_N].sum())},
        )


def token_nll(outputs: Outputs, batch: Batch) -> torch.Tensor:
    """Weighted negative log-likelihood of every token's target, (T,), 0 where nothing is trained."""
    return -outputs.logp_T * batch.weight
