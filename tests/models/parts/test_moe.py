"""Mixtures of experts, beside the formula token by token and beside transformers' routers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DeepseekV3Config, MixtralConfig, Qwen3MoeConfig
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter
from transformers.models.mixtral.modeling_mixtral import MixtralTopKRouter
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeTopKRouter

from mainspring.models.attend import PackedAttend
from mainspring.models.config import FfnSpec, MoeSpec
from mainspring.models.parts.base import Pass
from mainspring.models.parts.moe import Mixture, route

WIDTH = 12
EXPERT = FfnSpec(kind="glu", hidden=10, activation="silu")
SPEC = MoeSpec(num_experts=8, num_chosen=2, expert=EXPERT)
SPECS = {
    "softmax": SPEC,
    "softmax, normalized": SPEC.model_copy(update={"is_normalized": True, "num_chosen": 3}),
    "one expert a token": SPEC.model_copy(update={"num_chosen": 1}),
    "all experts": SPEC.model_copy(update={"num_chosen": 8, "is_normalized": True}),
    "sigmoid, balanced, shared": SPEC.model_copy(
        update={"scores": "sigmoid", "has_balance": True, "shared": EXPERT, "scale": 2.5, "is_normalized": True}
    ),
    "groups": SPEC.model_copy(
        update={
            "scores": "sigmoid", "has_balance": True, "num_groups": 4, "num_chosen_groups": 2, "num_chosen": 3,
        }
    ),
}  # fmt: skip


def mixture(spec, seed=0):
    torch.manual_seed(seed)
    made = Mixture(spec, WIDTH)
    if made.balance is not None:
        made.balance.normal_(std=0.3)
    return made


def around(num_tokens):
    return Pass(
        pos_T=torch.arange(num_tokens),
        attend=PackedAttend([num_tokens]),
        rope=lambda spec, size: (torch.empty(0), torch.empty(0)),
    )


def tokens(count, seed=0):
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def slow(made, x_TD):
    """Token by token, expert by expert, in plain words."""
    spec, out = made.spec, []
    for x_D in x_TD:
        logits = [float(made.router.weight[e] @ x_D) for e in range(spec.num_experts)]
        exact = torch.tensor(logits, dtype=torch.float64)
        score = (exact.softmax(0) if spec.scores == "softmax" else exact.sigmoid()).tolist()
        balance = made.balance.tolist() if made.balance is not None else [0.0] * spec.num_experts
        choice = [s + b for s, b in zip(score, balance, strict=True)]
        size = spec.num_experts // spec.num_groups
        groups = [range(start, start + size) for start in range(0, spec.num_experts, size)]
        groups.sort(key=lambda group: -sum(sorted((choice[e] for e in group), reverse=True)[:2]))
        allowed = [e for group in groups[: spec.num_chosen_groups] for e in group]
        chosen = sorted(allowed, key=lambda e: -choice[e])[: spec.num_chosen]
        total = sum(score[e] for e in chosen) if spec.is_normalized else 1.0
        y_D = sum(made.experts[e](x_D) * (score[e] / total * spec.scale) for e in chosen)
        out.append(y_D if made.shared is None else y_D + made.shared(x_D))
    return torch.stack(out)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("count", [1, 2, 57])
@torch.no_grad()
def test_a_mixture_gives_what_the_formula_gives_token_by_token(spec, count):
    made, x_TD = mixture(spec), tokens(count)
    torch.testing.assert_close(made(x_TD, around(count)), slow(made, x_TD), atol=1e-6, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 40), num_chosen=st.integers(1, 8))
@torch.no_grad()
def test_a_token_gets_the_same_in_any_company_and_order(seed, count, num_chosen):
    made = mixture(SPEC.model_copy(update={"num_chosen": num_chosen, "is_normalized": True}), seed)
    x_TD = tokens(count, seed)
    together = made(x_TD, around(count))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(made(x_TD[order], around(count)), together[order], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(made(x_TD[-1:], around(1)), together[-1:], atol=1e-6, rtol=1e-5)


ROUTERS = {
    "Mixtral": (
        MixtralTopKRouter,
        MixtralConfig(num_local_experts=16, num_experts_per_tok=3, hidden_size=WIDTH),
        MoeSpec(num_experts=16, num_chosen=3, expert=EXPERT, is_normalized=True),
    ),
    "Qwen3-MoE": (
        Qwen3MoeTopKRouter,
        Qwen3MoeConfig(num_experts=16, num_experts_per_tok=3, hidden_size=WIDTH, norm_topk_prob=False),
        MoeSpec(num_experts=16, num_chosen=3, expert=EXPERT),
    ),
    "DeepSeek-V3": (
        DeepseekV3TopkRouter,
        DeepseekV3Config(
            n_routed_experts=16, num_experts_per_tok=3, hidden_size=WIDTH, n_group=4, topk_group=2,
            routed_scaling_factor=2.5, norm_topk_prob=True,
        ),
        MoeSpec(
            num_experts=16, num_chosen=3, expert=EXPERT, scores="sigmoid", is_normalized=True, scale=2.5,
            has_balance=True, num_groups=4, num_chosen_groups=2,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "config", "spec"), ROUTERS.values(), ids=ROUTERS)
@torch.no_grad()
def test_tokens_go_where_transformers_sends_them_with_the_same_weights(kind, config, spec):
    theirs, generator = kind(config), torch.Generator().manual_seed(2)
    theirs.weight.normal_(generator=generator)
    balance_E = torch.randn(16, generator=generator) if spec.has_balance else None
    if balance_E is not None:
        theirs.e_score_correction_bias.copy_(balance_E)
    x_TD = tokens(500, 3)
    _, expected_TC, at_TC = theirs(x_TD)
    chosen_TC, weight_TC = route(x_TD @ theirs.weight.t(), spec, balance_E)
    found_TE, wanted_TE = torch.zeros(2, 500, 16)
    found_TE.scatter_(1, chosen_TC, weight_TC)
    wanted_TE.scatter_(1, at_TC, expected_TC)
    torch.testing.assert_close(found_TE, wanted_TE, atol=1e-6, rtol=1e-5)
    assert torch.equal(found_TE > 0, wanted_TE > 0)


def test_the_balance_chooses_and_does_not_weigh():
    spec = SPEC.model_copy(update={"scores": "sigmoid", "has_balance": True})
    logits_TE = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    balance_E = torch.zeros(8)
    balance_E[5] = 10.0
    chosen_TC, weight_TC = route(logits_TE, spec, balance_E)
    assert (chosen_TC == 5).any(1).all()
    assert torch.equal(weight_TC, logits_TE.sigmoid().gather(1, chosen_TC))


def test_an_expert_without_tokens_gets_a_gradient_of_zero():
    made = mixture(SPEC)
    made(tokens(1), around(1)).sum().backward()
    reached = [any(p.grad.abs().sum() > 0 for p in expert.parameters()) for expert in made.experts]
    assert all(p.grad is not None for p in made.parameters())
    assert sum(reached) == 2


def test_outputs_and_gradients_repeat_to_the_last_bit_with_several_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        made, x_TD = mixture(SPECS["groups"]), tokens(3000)
        runs = []
        for _ in range(3):
            made.zero_grad()
            y_TD = made(x_TD, around(3000))
            y_TD.square().sum().backward()
            runs.append([y_TD.detach(), *(p.grad.clone() for p in made.parameters())])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))


@pytest.mark.parametrize("kind", ["glu", "mlp"])
@pytest.mark.parametrize("bias", [True, False])
def test_idle_parameters_are_those_that_a_token_does_not_reach(kind, bias):
    expert = EXPERT.model_copy(update={"kind": kind, "bias": bias, "activation": "gelu"})
    made = mixture(SPEC.model_copy(update={"expert": expert, "num_chosen": 3, "shared": EXPERT}))
    made(tokens(1), around(1)).sum().backward()
    idle = sum(p.numel() for p in made.parameters() if not p.grad.any())
    assert made.spec.idle_parameters(WIDTH) == idle
