"""Texts that belong together become like vectors: InfoNCE over all texts of a step, and losses of rerankers.

Papers: arXiv:1807.03748, eq. 4 (InfoNCE); arXiv:2004.04906, section 3.2 (negatives in the batch, and hard ones);
arXiv:2205.13147 (losses at several widths at once); arXiv:2010.02666 (margins).

Shapes: S segments, Q queries, P passages (positives and negatives of all items), D width.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, log_softmax, normalize

from mainspring.models.pool import pool
from mainspring.train.batch import Batch
from mainspring.train.objectives.base import JointObjective, Loss, Objective
from mainspring.train.objectives.classify import labels_of, scores_of
from mainspring.train.outputs import Outputs, full

QUERY, POSITIVE = "query", "positive"


class Contrastive(JointObjective):
    """-log softmax of a query's cosine with its positive among those with all passages of the step.

    Counted in groups: an item is a query, its positive, and any number of negatives.
    """

    kind: Literal["contrastive"] = "contrastive"
    couples: ClassVar[bool] = True
    temperature: float = Field(default=0.05, gt=0, description="cosines are divided by it")
    symmetric: bool = Field(default=False, description="passages look for their query too")
    widths: tuple[int, ...] = Field(
        default=(), description="first numbers of a vector that are to do as well"
    )

    def features(self, outputs: Outputs, batch: Batch) -> torch.Tensor:
        """Vectors of all segments, (S, D), not yet of unit length."""
        return full(pool(outputs.hidden_TD, batch.lengths, outputs.model.config.pooling or "mean"))

    def joint(self, features: Sequence[torch.Tensor], batches: Sequence[Batch]) -> Loss:
        """InfoNCE over the segments of all batches."""
        vector_SD = torch.cat(list(features))
        queries, passages, wanted_Q = _matches(batches)
        total, right = vector_SD.new_zeros(()), 0.0
        for width in self.widths or (vector_SD.shape[1],):
            unit_SD = normalize(vector_SD[:, :width], dim=1)
            score_QP = unit_SD[queries] @ unit_SD[passages].T / self.temperature
            total = total + info_nce(score_QP, wanted_Q, symmetric=self.symmetric)
            right = float((score_QP.detach().argmax(-1) == wanted_Q).sum())
        return Loss(sum=total / max(1, len(self.widths)), count_key="groups", metrics={"accuracy": right})


class Rerank(Objective):
    """A cross-encoder's score of a query and a passage in one text; an item holds the passages of one query.

    listwise: -log softmax of the passages labelled 1 among the item's. pointwise: -log sigmoid of the label.
    margin: squared error of the differences to the first passage, where labels are a teacher's scores.
    """

    kind: Literal["rerank"] = "rerank"
    loss: Literal["listwise", "pointwise", "margin"] = Field(
        default="listwise", description="how scores are judged"
    )
    couples: ClassVar[bool] = True

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        score_S = scores_of(outputs, batch).squeeze(1)
        label_S = labels_of(batch, score_S.dtype)
        if self.loss == "pointwise":
            right = float(((score_S.detach() > 0) == (label_S > 0.5)).sum())
            loss = binary_cross_entropy_with_logits(score_S, label_S, reduction="sum")
            return Loss(sum=loss, count_key="segments", metrics={"accuracy": right})
        total, right = score_S.new_zeros(()), 0.0
        judge = listwise if self.loss == "listwise" else margins
        for rows in batch.groups():
            total = total + judge(score_S[rows], label_S[rows])
            right += float(score_S[rows].detach().argmax() == label_S[rows].argmax())
        return Loss(sum=total, count_key="groups", metrics={"accuracy": right})


def _matches(batches: Sequence[Batch]) -> tuple[list[int], list[int], torch.Tensor]:
    """Rows of the queries, rows of the passages, and which passage is each query's positive, (Q,)."""
    places = [
        ((number, place.group), place.role)
        for number, batch in enumerate(batches)
        for place in batch.segments
    ]
    queries = [row for row, (_, role) in enumerate(places) if role == QUERY]
    passages = [row for row, (_, role) in enumerate(places) if role != QUERY]
    positives = {places[row][0]: at for at, row in enumerate(passages) if places[row][1] == POSITIVE}
    return queries, passages, torch.tensor([positives[places[row][0]] for row in queries])


def info_nce(score_QP: torch.Tensor, wanted_Q: torch.Tensor, *, symmetric: bool) -> torch.Tensor:
    """Sum over queries; `symmetric` takes the mean with the sum over their positives."""
    loss = cross_entropy(score_QP, wanted_Q, reduction="sum")
    if not symmetric:
        return loss
    back_QQ = score_QP[:, wanted_Q].T
    return (loss + cross_entropy(back_QQ, torch.arange(len(back_QQ)), reduction="sum")) / 2


def listwise(score_P: torch.Tensor, label_P: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the labels, as shares, under the softmax of the scores."""
    return -(label_P / label_P.sum() * log_softmax(score_P, 0)).sum()


def margins(score_P: torch.Tensor, label_P: torch.Tensor) -> torch.Tensor:
    """Mean squared error of what the first passage is ahead of each other one."""
    return (((score_P[0] - score_P[1:]) - (label_P[0] - label_P[1:])) ** 2).mean()
