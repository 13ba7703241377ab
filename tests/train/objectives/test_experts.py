"""Even loads of experts: the loss against its formula, the bias against its rule, and both in the loop."""

import pytest
import torch

from fakes_objectives import segment
from mainspring.config import build
from mainspring.errors import ConfigError
from mainspring.models.families import deepseek_v3, llama, mixtral
from mainspring.models.init import fresh
from mainspring.models.parts.moe import Mixture, route
from mainspring.train.config import TrainConfig
from mainspring.train.learner import Learner
from mainspring.train.loop import train
from mainspring.train.objectives.experts import MoeBalance, MoeBias, balance_loss
from mainspring.train.objectives.sft import Sft
from mainspring.train.optim import build_optimizer
from mainspring.train.outputs import run_model
from mainspring.train.parallel import Runner
from mainspring.train.ranks import Ranks

VOCAB = 64
FAMILIES = {"mixtral": mixtral, "deepseek_v3": deepseek_v3}


def items(count=4):
    return [(segment(at, vocab=VOCAB, prompt=6),) for at in range(count)]


class Items:
    fingerprint, num_items = "given", 4

    def item(self, index):
        return items()[index]


def learner(model, penalties, micro_batch_tokens=1000):
    parameters = dict(model.named_parameters())
    config = build(TrainConfig, {"plan": {"dtype": "fp64", "micro_batch_tokens": micro_batch_tokens}})
    return Learner(
        runner=Runner(model, config.plan, Ranks()), objective=Sft(), penalties=penalties, annotators=(), config=config,
        parameters=parameters, optimizer=build_optimizer(parameters, config.optim),
    )  # fmt: skip


def said(model, batch):
    """What every router is given and says, found by running its layer's input through it."""
    found = []
    mixtures = [each for each in model.modules() if isinstance(each, Mixture)]
    hooks = [
        each.register_forward_pre_hook(lambda one, args: found.append((one, args[0]))) for each in mixtures
    ]
    run_model(model, batch)
    for hook in hooks:
        hook.remove()
    return [(one, one.router(x_TD)) for one, x_TD in found]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_the_product_of_share_and_probability(family):
    model = fresh(FAMILIES[family].tiny(), 0).double()
    one = learner(model, [MoeBalance(coefficient=2.0)])
    (batch,) = one.batches(items())
    sums = one.backward([batch], batch.counts())
    expected = 0
    for mixture, logits in said(model, batch):
        scores = logits.softmax(-1) if family == "mixtral" else logits.sigmoid()
        p = scores / scores.sum(-1, keepdim=True)
        chosen, _ = route(logits, mixture.spec, mixture.balance)
        for expert in range(mixture.spec.num_experts):
            share = float((chosen == expert).sum()) / chosen.numel()
            expected = expected + mixture.spec.num_experts * share * p[:, expert].mean()
    assert sums["moe_balance"] == pytest.approx(2 * float(expected.detach()), rel=1e-9)
    before = {name: each.grad.clone() for name, each in model.named_parameters()}
    model.zero_grad()
    plain = Sft()(run_model(model, batch), batch).sum / batch.counts()["tokens"]
    (plain + 2 * expected).backward()
    for name, each in model.named_parameters():
        assert (before[name] - each.grad).norm() <= 1e-9 * each.grad.norm() + 1e-14, name


def test_even_loads_cost_one_a_layer():
    assert balance_loss(torch.full((3, 4), 0.25), torch.full((3, 4), 0.25)) == 3.0


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_cut_of_a_step_and_forgotten_activations_change_nothing(checkpointing):
    gradients, told = [], []
    for micro_batch_tokens in (1000, 12):
        model = fresh(mixtral.tiny(), 0).double()
        one = learner(model, [MoeBalance()], micro_batch_tokens)
        batches = one.batches(items())
        plan = one.config.plan.model_copy(
            update={"checkpointing": checkpointing and micro_batch_tokens == 12, "threads": 1}
        )
        with plan.applied(model):
            told.append(one.backward(batches, one.ranks.total(each.counts() for each in batches)))
        gradients.append([each.grad for each in model.parameters()])
    assert len(batches) == 4
    assert told[1] == pytest.approx(told[0], rel=1e-9)
    for one, many in zip(*gradients, strict=True):
        assert (one - many).norm() <= 1e-9 * one.norm() + 1e-15


@pytest.mark.slow
def test_the_loss_of_a_layer_is_the_one_of_transformers():
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    logits = torch.randn(30, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    share = logits.topk(2).indices.flatten().bincount(minlength=8) / 60
    ours = balance_loss(share.unsqueeze(0), logits.softmax(-1).mean(0, keepdim=True))
    theirs = load_balancing_loss_func((logits,), num_experts=8, top_k=2)
    assert float(2 * ours) == pytest.approx(float(theirs), rel=1e-5)


def test_biases_rise_where_tokens_lack_over_all_batches():
    model = fresh(deepseek_v3.tiny(), 0)
    one = learner(model, [MoeBias(rate=0.01)], 12)
    batches = one.batches(items())
    assert len(batches) == 4
    load = {}
    for batch in batches:
        for mixture, logits in said(model, batch):
            chosen, _ = route(logits, mixture.spec, mixture.balance)
            load[mixture] = load.get(mixture, 0) + torch.nn.functional.one_hot(chosen, 8).sum((0, 1))
    one.backward(batches, one.ranks.total(each.counts() for each in batches))
    told = one._regulate()
    for mixture, each in load.items():
        mean = each.float().mean()
        expected = torch.where(each > mean, -0.01, torch.where(each < mean, 0.01, 0.0))
        torch.testing.assert_close(mixture.balance, expected)
    assert told["busiest_expert"] == pytest.approx(
        max(float(each.max() / each.float().mean()) for each in load.values())
    )


def settings(steps):
    return build(
        TrainConfig, {"steps": steps, "items_per_step": 4, "save_every_steps": 2, "plan": {"threads": 1}}
    )


class StopError(Exception):
    pass


@pytest.mark.slow
def test_a_bias_evens_the_load_and_a_stopped_run_goes_on_to_the_same_bits(tmp_path):
    def stop(report):
        loads.append(report.metrics["busiest_expert"])
        if report.step == 5 and stopping:
            raise StopError

    loads, stopping = [], False
    whole, parts, again = (fresh(deepseek_v3.tiny(), 0) for _ in range(3))
    for each in (whole, parts, again):
        next(m for m in each.modules() if isinstance(m, Mixture)).balance[3] = 0.2  # far from even
    biases = [MoeBias(rate=0.02)]
    train(whole, Items(), Sft(), settings(12), tmp_path / "whole", penalties=biases, on_step=stop)
    assert loads[-1] < loads[0]
    stopping = True
    with pytest.raises(StopError):
        train(parts, Items(), Sft(), settings(12), tmp_path / "parts", penalties=biases, on_step=stop)
    train(again, Items(), Sft(), settings(12), tmp_path / "parts", penalties=biases)
    moved = MoeBias().moves(again)
    assert len(moved) == 2
    for name, each in MoeBias().moves(whole).items():
        assert torch.equal(moved[name], each)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_models_without_experts_or_biases_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no experts"):
        train(fresh(llama.tiny(), 0), Items(), Sft(), settings(1), tmp_path / "a", penalties=[MoeBalance()])
    with pytest.raises(ConfigError, match="has a bias to move"):
        train(fresh(mixtral.tiny(), 0), Items(), Sft(), settings(1), tmp_path / "b", penalties=[MoeBias()])
