"""Mixture of experts: many feed-forward parts, of which a router sends every token to a few.

Tokens are sorted by expert, so that each expert multiplies all of its tokens at once:

    x_TD -> router -> chosen experts and weights (T, C)
              |
    x_TD -> rows sorted by expert (S, D) -> expert 0 | expert 1 | ... -> weighed, added to their tokens

Papers: arXiv:2401.04088 (softmax, the chosen scores normalized), arXiv:2412.19437, section 2.1.2 (sigmoid,
and a bias that chooses but does not weigh).

Shapes: T tokens, D width, E experts, C chosen ones a token, S = T * C rows, g groups of n experts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from mainspring.models.config import MoeSpec
from mainspring.models.parts.base import Pass
from mainspring.models.parts.ffn import build_ffn

SCORES_A_GROUP = 2
LANES = 32  # numbers that a processor's loop computes at once, or a multiple of them
TINY = 1e-20  # keeps the quotient of scores that are all zero finite


class Mixture(nn.Module):
    """sum over the chosen experts of weight * expert(x), and the shared expert's part where there is one.

    `balance` moves with how many tokens the experts get, not with gradients, so it is no parameter.
    """

    balance: torch.Tensor | None

    def __init__(self, spec: MoeSpec, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.router = nn.Linear(width, spec.num_experts, bias=False)
        self.register_buffer("balance", torch.zeros(spec.num_experts) if spec.has_balance else None)
        self.experts = nn.ModuleList(build_ffn(spec.expert, width) for _ in range(spec.num_experts))
        self.shared = build_ffn(spec.shared, width) if spec.shared else None
        self.shared_gate = nn.Linear(width, 1, bias=False) if spec.has_shared_gate else None

    def forward(self, x_TD: torch.Tensor, around: Pass) -> torch.Tensor:
        chosen_TC, weight_TC = route(_full(self.router(x_TD)), self.spec, self.balance)
        slot_S = chosen_TC.flatten().argsort(stable=True)
        token_S = slot_S // self.spec.num_chosen
        counts = chosen_TC.flatten().bincount(minlength=self.spec.num_experts).tolist()
        y_SD = self._run_experts(x_TD.index_select(0, token_S), counts, around)
        y_SD = y_SD * weight_TC.flatten().index_select(0, slot_S).unsqueeze(1).to(y_SD.dtype)
        y_TD = y_SD.new_zeros(x_TD.shape).index_add(0, token_S, y_SD)  # of half precision under autocast
        return y_TD if self.shared is None else y_TD + self._share(self.shared, x_TD)

    def _share(self, shared: nn.Module, x_TD: torch.Tensor) -> torch.Tensor:
        y_TD = shared(x_TD)
        if self.shared_gate is None:
            return y_TD
        # A column of single numbers is computed in vectors but for its end, so a row's bits would depend on its place.
        return self.shared_gate(x_TD).expand(-1, LANES).sigmoid()[:, :1] * y_TD

    def _run_experts(self, x_SD: torch.Tensor, counts: list[int], around: Pass) -> torch.Tensor:
        """Every expert over its rows. One without rows runs only to get a gradient, which is zero then."""
        y_SD = []
        for expert, rows_RD in zip(self.experts, x_SD.split(counts), strict=True):
            num_rows = len(rows_RD)
            if num_rows or torch.is_grad_enabled():
                padded_RD = functional.pad(rows_RD, (0, 0, 0, around.attend.pad(num_rows) - num_rows))
                y_SD.append(expert(padded_RD)[:num_rows])
        return torch.cat(y_SD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """What one router said to the tokens of a forward: logits_TE, and whom it chose, int64."""

    spec: MoeSpec
    logits_TE: torch.Tensor
    chosen_TC: torch.Tensor


@contextmanager
def watched(model: nn.Module) -> Iterator[list[Routed]]:
    """What every router says to a forward within, layer by layer; nothing is kept elsewhere or otherwise."""
    said: list[Routed] = []

    def note(mixture: Mixture, _router: nn.Module, _given: object, logits_TE: torch.Tensor) -> None:
        chosen_TC, _ = route(_full(logits_TE.detach()), mixture.spec, mixture.balance)
        said.append(Routed(spec=mixture.spec, logits_TE=logits_TE, chosen_TC=chosen_TC))

    mixtures = [module for module in model.modules() if isinstance(module, Mixture)]
    hooks = [each.router.register_forward_hook(partial(note, each)) for each in mixtures]
    try:
        yield said
    finally:
        for hook in hooks:
            hook.remove()


def route(
    logits_TE: torch.Tensor, spec: MoeSpec, balance_E: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Which experts each token goes to, and what weight each of them has: chosen_TC (int64), weight_TC."""
    score_TE = logits_TE.softmax(-1) if spec.scores == "softmax" else logits_TE.sigmoid()
    choice_TE = score_TE if balance_E is None else score_TE + balance_E
    if spec.num_groups > 1:
        choice_TE = _within_groups(choice_TE, spec)
    chosen_TC = choice_TE.topk(spec.num_chosen, dim=-1).indices
    weight_TC = score_TE.gather(1, chosen_TC)
    if spec.is_normalized:
        weight_TC = weight_TC / (weight_TC.sum(-1, keepdim=True) + TINY)
    return chosen_TC, weight_TC * spec.scale


def _full(logits_TE: torch.Tensor) -> torch.Tensor:
    """At least fp32: who is chosen is not decided in half precision."""
    return logits_TE.to(torch.promote_types(logits_TE.dtype, torch.float32))


def _within_groups(choice_TE: torch.Tensor, spec: MoeSpec) -> torch.Tensor:
    """Experts outside of the best groups get -inf; a group is as good as its two best experts together."""
    choice_Tgn = choice_TE.unflatten(1, (spec.num_groups, -1))
    group_Tg = choice_Tgn.topk(SCORES_A_GROUP, dim=-1).values.sum(-1)
    kept_TG = group_Tg.topk(spec.num_chosen_groups, dim=-1).indices
    left_out_Tg = torch.ones_like(group_Tg, dtype=torch.bool).scatter(1, kept_TG, value=False)
    return choice_Tgn.masked_fill(left_out_Tg.unsqueeze(-1), float("-inf")).flatten(1)
