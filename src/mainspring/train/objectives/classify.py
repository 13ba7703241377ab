"""A label of a whole text: cross entropy of classes, or the squared error of a number.

Shapes: S segments, C labels, D width.
"""

from typing import Literal

import torch
from torch.nn.functional import cross_entropy

from mainspring.errors import ConfigError
from mainspring.models.pool import pool
from mainspring.train.batch import Batch
from mainspring.train.objectives.base import Loss, Objective
from mainspring.train.outputs import Outputs, full


class Classification(Objective):
    """-log p(label) of every segment, or (score - label)^2 where the head gives one number; counted in segments."""

    kind: Literal["classify"] = "classify"

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        scores_SC = scores_of(outputs, batch)
        label_S = labels_of(batch, scores_SC.dtype)
        if scores_SC.shape[1] == 1:
            return Loss(sum=((scores_SC.squeeze(1) - label_S) ** 2).sum(), count_key="segments")
        wanted_S = label_S.long()
        right = float((scores_SC.detach().argmax(-1) == wanted_S).sum())
        loss = cross_entropy(scores_SC, wanted_S, reduction="sum")
        return Loss(sum=loss, count_key="segments", metrics={"accuracy": right})


def scores_of(outputs: Outputs, batch: Batch) -> torch.Tensor:
    """The head's scores of every segment, (S, C): of its vector, or of its last token where nothing pools."""
    head = outputs.model.config.head
    if head is None or head.kind != "classify":
        raise ConfigError(
            "The model has no head that scores texts. Set `head.kind` to classify and `head.num_labels`."
        )
    pooled_SD = pool(outputs.hidden_TD, batch.lengths, head.pooling or outputs.model.config.pooling or "last")
    return full(outputs.model.logits(pooled_SD))


def labels_of(batch: Batch, dtype: torch.dtype) -> torch.Tensor:
    """The label of every segment, (S,)."""
    labels = [place.label for place in batch.segments]
    if None in labels:
        raise ConfigError(
            f"{batch.segments[labels.index(None)].name} has no label to learn. Add it, or leave it out."
        )
    return torch.tensor(labels, dtype=dtype)
