"""Head and cross entropy in one: -log p(target) of hidden states, without ever holding all scores in fp32.

The scores are made for some rows at a time; a few of them, while they lie in the cache, become the losses and their
own gradient, which is kept in the products' dtype. What backward still has to do is two products; a head that does
not learn (an adapter's base) spares it one of them.

    d(-log p(y)) / d score = softmax(score) - onehot(y)

Shapes: N hidden states, D width, V vocabulary, R rows of a product, C rows in the cache.
"""

from typing import Any

import torch
from torch import nn

from mainspring.models.model import Model
from mainspring.models.parts.heads import Head

MAX_SCORES = 2**22  # of a product
MAX_CACHED = 2**18  # of those that are looked at together, 1 MB in fp32


def plain_head(model: Model) -> torch.Tensor | None:
    """The matrix (V, D) that alone makes the model's scores; None if its head does more, or is adapted."""
    head = model.head
    if type(head) is not Head or head._forward_hooks or head._forward_pre_hooks:  # noqa: SLF001 - torch has no other way to ask
        return None
    spec = head.spec
    if spec.kind != "lm" or spec.dense or spec.norm or spec.bias or spec.softcap or spec.scale != 1.0:
        return None
    if head.out is None:
        return model.embedding.weight if type(model.embedding) is nn.Embedding else None
    return head.out.weight if type(head.out) is nn.Linear else None


def linear_nll(
    hidden_ND: torch.Tensor, weight_VD: torch.Tensor, target_N: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """-log p(target), fp32 and differentiable, and whether no token is likelier, bool; (N,) each.

    Products are made in the dtype of the hidden states.
    """
    with torch.autocast(hidden_ND.device.type, enabled=False):
        return _LinearNll.apply(hidden_ND, weight_VD.to(hidden_ND.dtype), target_N)  # type: ignore[no-any-return]


class _LinearNll(torch.autograd.Function):
    """Keeps the gradient of the scores, (N, V)."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: torch.Tensor, weight_VD: torch.Tensor, target_N: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        num_scores, needs_gradient = len(weight_VD), any(ctx.needs_input_grad)
        dscores_NV = hidden_ND.new_empty(len(hidden_ND) if needs_gradient else 0, num_scores)
        nll_N, is_best_N = torch.empty(len(hidden_ND)), torch.empty(len(hidden_ND), dtype=torch.bool)
        size, few = (max(1, limit // num_scores) for limit in (MAX_SCORES, MAX_CACHED))
        for start in range(0, len(hidden_ND), size):
            scores_RV = hidden_ND[start : start + size] @ weight_VD.t()
            for at in range(start, start + len(scores_RV), few):
                rows = slice(at, min(at + few, start + len(scores_RV)))
                scores_CV = scores_RV[at - start : at - start + few].float()
                nll_N[rows], is_best_N[rows], dscores_CV = _look(scores_CV, target_N[rows].unsqueeze(1))
                if needs_gradient:
                    dscores_NV[rows] = dscores_CV
        ctx.save_for_backward(hidden_ND, weight_VD, dscores_NV)
        ctx.mark_non_differentiable(is_best_N)
        return nll_N, is_best_N

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        hidden_ND, weight_VD, dscores_NV = ctx.saved_tensors
        needs_hidden, needs_weight, _ = ctx.needs_input_grad
        dnll_N1 = grads[0].unsqueeze(1)
        dhidden_ND = ((dscores_NV @ weight_VD) * dnll_N1).to(hidden_ND.dtype) if needs_hidden else None
        dweight_VD = dscores_NV.t() @ (hidden_ND * dnll_N1).to(hidden_ND.dtype) if needs_weight else None
        return dhidden_ND, dweight_VD, None


def _look(
    scores_CV: torch.Tensor, target_C1: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """-log p(target), whether nothing is likelier, and the gradient of the former."""
    said_C1, best_C1 = scores_CV.gather(1, target_C1), scores_CV.amax(-1, keepdim=True)
    p_CV = scores_CV.softmax(-1)
    sum_C1 = best_C1 - p_CV.amax(-1, keepdim=True).log()  # the likeliest never underflows
    p_CV.scatter_add_(1, target_C1, torch.full_like(said_C1, -1.0))
    return (sum_C1 - said_C1).squeeze(1), (said_C1 >= best_C1).squeeze(1), p_CV
