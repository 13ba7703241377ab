"""The terms of policy gradients, as functions of log-probabilities, advantages and values.

Shapes: T tokens of a batch, S segments.
"""

from typing import Literal

import torch

from mainspring.train.batch import Batch

Ratio = Literal["token", "sequence", "sequence_mean"]
Average = Literal["tokens", "answers", "max_tokens"]


def ratios(difference_T: torch.Tensor, batch: Batch, kind: Ratio) -> torch.Tensor:
    """How much likelier a token, or the whole answer that it is of, has become: (T,).

    token: PPO, GRPO. sequence: of the whole answer, as RLOO takes it (arXiv:2402.14740, section 2.2). sequence_mean:
    its geometric mean over the tokens (GSPO, arXiv:2507.18071, eq. 7).
    """
    if kind == "token":
        return difference_T.exp()
    sum_S = batch.segment_sum(difference_T * batch.weight)
    if kind == "sequence_mean":
        sum_S = sum_S / batch.segment_sum(batch.weight).clamp(min=1.0)
    return sum_S.exp()[batch.segment_of()]


def clipped(ratio_T: torch.Tensor, advantage_T: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """-min(ratio A, clip(ratio, 1 - low, 1 + high) A).

    Papers: arXiv:1707.06347, eq. 7; with two bounds arXiv:2503.14476, eq. 10.
    """
    bounded_T = ratio_T.clamp(1 - low, 1 + high)
    return -torch.minimum(ratio_T * advantage_T, bounded_T * advantage_T)


def value_loss(value_T: torch.Tensor, old_T: torch.Tensor, goal_T: torch.Tensor, clip: float) -> torch.Tensor:
    """Half the squared error of what was expected, the worse of it and of what keeps near the old expectation.

    Paper: arXiv:2005.12729, section 3, which reads it out of PPO's published code; arXiv:1707.06347, eq. 9 has the
    plain square.
    """
    near_T = old_T + (value_T - old_T).clamp(-clip, clip)
    return torch.maximum((value_T - goal_T) ** 2, (near_T - goal_T) ** 2) / 2


def shares(batch: Batch, average: Average, max_tokens: int = 1) -> torch.Tensor:
    """How much a token counts in the sum over the batch, (T,).

    tokens: 1, a mean over all tokens (DAPO, arXiv:2503.14476, eq. 8). answers: 1 / its answer's tokens, a mean of
    means (GRPO, arXiv:2402.03300, eq. 3). max_tokens: 1 / max_tokens, a constant (Dr. GRPO, arXiv:2503.20783).
    """
    if average == "tokens":
        return batch.weight
    if average == "max_tokens":
        return batch.weight / max_tokens
    return batch.weight / batch.segment_sum(batch.weight).clamp(min=1.0)[batch.segment_of()]
