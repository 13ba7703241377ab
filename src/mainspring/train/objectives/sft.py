"""Cross entropy of what should have been said, weighted: of the next token, or of a target at the token itself.

Shapes: T tokens of a batch, N of them trained, V vocabulary or labels.
"""

from typing import Literal

import torch

from mainspring.train.batch import Batch
from mainspring.train.objectives.base import Loss, Objective
from mainspring.train.outputs import Outputs


class CrossEntropy(Objective):
    """-sum over trained tokens of weight * log p(target), counted in trained tokens."""

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        weight_N = batch.weight[batch.trained()]
        return Loss(
            sum=-(outputs.trained_logp_N * weight_N).sum(),
            count_key="tokens",
            metrics={"accuracy": float(weight_N[outputs.is_best_N].sum())},
        )


class CausalLm(CrossEntropy):
    """The next token of everything that a source gives a weight: documents."""

    kind: Literal["clm"] = "clm"


class Sft(CrossEntropy):
    """Supervised fine-tuning: the next token of answers, which are what a chat source gives a weight."""

    kind: Literal["sft"] = "sft"


class TokenLabels(CrossEntropy):
    """A label for every token, such as those of named entities; the model has a head of labels."""

    kind: Literal["token_labels"] = "token_labels"


def token_nll(outputs: Outputs, batch: Batch) -> torch.Tensor:
    """Weighted negative log-likelihood of every token's target, (T,), 0 where nothing is trained."""
    return -outputs.logp_T * batch.weight
