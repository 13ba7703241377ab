"""How far two models are apart, token by token: over all that could be said, or from what was said alone.

Shapes: N tokens, V outcomes (a vocabulary, or some of it), any shape where none is named.
"""

from typing import Literal

import torch

Estimator = Literal["k1", "k2", "k3"]


def estimate(logp: torch.Tensor, reference: torch.Tensor, kind: Estimator) -> torch.Tensor:
    """KL(model || reference) of each token from the log-probabilities of what the model said.

    k1: log p - log q. k2: its half square. k3: q/p - 1 - log(q/p), never negative; of arXiv:2402.03300, eq. 4. All
    three are from http://joschu.net/blog/kl-approx.html. The values of k1 and k3 are right on average; of the
    gradients, only k2's is the divergence's when the model itself drew the tokens.
    """
    difference = logp - reference
    if kind == "k1":
        return difference
    if kind == "k2":
        return difference.square() / 2
    return torch.expm1(-difference) + difference


def kl(logp_NV: torch.Tensor, logq_NV: torch.Tensor) -> torch.Tensor:
    """KL(p || q) of each row, (N,); outcomes of probability 0 under p count nothing."""
    inside = logp_NV > float("-inf")
    difference_NV = torch.where(inside, logp_NV - logq_NV, 0.0)
    return (logp_NV.exp() * difference_NV).sum(-1)


def generalized_jsd(teacher_NV: torch.Tensor, student_NV: torch.Tensor, beta: float) -> torch.Tensor:
    """Of log-probabilities: beta KL(P || M) + (1 - beta) KL(Q || M), M = beta P + (1 - beta) Q, P the teacher.

    At its ends, where this would be 0, it is what it tends to when divided by beta and 1 - beta: 0 gives the forward
    KL(P || Q), 1 the reverse KL(Q || P). Paper: arXiv:2306.13649, eq. 1.
    """
    if beta == 0:
        return kl(teacher_NV, student_NV)
    if beta == 1:
        return kl(student_NV, teacher_NV)
    share = torch.tensor([beta, 1 - beta], dtype=student_NV.dtype).log()
    mixed_NV = torch.logaddexp(teacher_NV + share[0], student_NV + share[1])
    return beta * kl(teacher_NV, mixed_NV) + (1 - beta) * kl(student_NV, mixed_NV)
