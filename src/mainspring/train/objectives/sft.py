"""Supervised fine-tuning: cross entropy of the next token, weighted; weight 1 everywhere makes it plain CLM.

Shapes: T tokens of a batch, N of them trained, V vocabulary.
"""

import torch
from torch.nn.functional import cross_entropy

from mainspring.train.batch import Batch
from mainspring.train.objectives.base import Loss, Outputs


class Sft:
    """-sum over trained tokens of weight * log p(target), counted in trained tokens."""

    name = "sft"

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        at_N = batch.trained()
        weight_N = batch.weight[at_N]
        logits_NV = outputs.logits(at_N).float()
        target_N = batch.target[at_N]
        nll_N = cross_entropy(logits_NV, target_N, reduction="none")
        right = weight_N[logits_NV.detach().argmax(-1) == target_N].sum()
        return Loss(sum=torch.dot(nll_N, weight_N), count_key="tokens", metrics={"accuracy": float(right)})


def token_nll(outputs: Outputs, batch: Batch) -> torch.Tensor:
    """Weighted negative log-likelihood of every token's target, (T,), 0 where nothing is trained."""
    at_N = batch.trained()
    nll_N = cross_entropy(outputs.logits(at_N).float(), batch.target[at_N], reduction="none")
    return torch.zeros_like(batch.weight).index_copy(0, at_N, nll_N * batch.weight[at_N])
