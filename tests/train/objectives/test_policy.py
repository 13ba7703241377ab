"""Policy gradients against their papers' formulas, written out in float64."""

import pytest
import torch
from pydantic import ValidationError

from fakes_objectives import StandIn, assert_same, log_probabilities, one_batch, per_segment, segment
from mainspring.train.objectives.divergence import estimate
from mainspring.train.objectives.policy import PolicyGradient

EXTRAS = ("sampler_logp", "old_logp", "reference_logp", "advantage", "value")


def rollouts(count=4):
    return [tuple(segment(at, extras=EXTRAS, answer=2 + at) for at in range(count))]


def near(outputs, batch):
    """Recorded log-probabilities near those now, so that some ratios are clipped and some are not."""
    logp_T = log_probabilities(outputs).detach()
    for name in ("sampler_logp", "old_logp", "reference_logp"):
        generator = torch.Generator().manual_seed(len(name))
        noise = 0.2 * torch.randn(len(logp_T), generator=generator, dtype=torch.float64)
        batch = batch.with_extra(name, logp_T + noise)
    return batch


def given():
    batch = one_batch(rollouts())
    batch = near(StandIn(batch), batch)
    return StandIn(batch), batch


def clip(x, low, high):
    return torch.minimum(torch.maximum(x, torch.full_like(x, low)), torch.full_like(x, high))


def ppo_term(ratio, advantage, low=0.2, high=0.2):
    one, two = ratio * advantage, clip(ratio, 1 - low, 1 + high) * advantage
    return -torch.where(one < two, one, two)


def grpo(logp, old, ref, advantage):
    """Mean over answers of means over tokens, with k3 (arXiv:2402.03300, eq. 3 and 4)."""
    total = 0
    for p, o, r, a in zip(logp, old, ref, advantage, strict=True):
        k3 = torch.exp(r) / torch.exp(p) - torch.log(torch.exp(r) / torch.exp(p)) - 1
        total = total + (ppo_term(torch.exp(p) / torch.exp(o), a) + 0.04 * k3).sum() / len(p)
    return total / len(logp)


def dr_grpo(logp, old, ref, advantage):
    """A constant length instead of the answer's (arXiv:2503.20783)."""
    terms = [ppo_term(torch.exp(p - o), a).sum() for p, o, a in zip(logp, old, advantage, strict=True)]
    return sum(terms) / 7 / len(terms)


def dapo(logp, old, ref, advantage):
    """Over all tokens, with more room upwards (arXiv:2503.14476, eq. 8 to 12)."""
    terms = [
        ppo_term(torch.exp(p - o), a, 0.2, 0.28).sum() for p, o, a in zip(logp, old, advantage, strict=True)
    ]
    return sum(terms) / sum(len(p) for p in logp)


def gspo(logp, old, ref, advantage):
    """The geometric mean of an answer's ratios (arXiv:2507.18071, eq. 5 and 7)."""
    total = 0
    for p, o, a in zip(logp, old, advantage, strict=True):
        ratio = (torch.exp(p.sum()) / torch.exp(o.sum())) ** (1 / len(p))
        total = total + ppo_term(ratio, a, 0.05, 0.06).mean()
    return total / len(logp)


def rloo(logp, old, ref, advantage):
    """The ratio of whole answers."""
    terms = [
        ppo_term(torch.exp(p.sum() - o.sum()), a).mean() for p, o, a in zip(logp, old, advantage, strict=True)
    ]
    return sum(terms) / len(terms)


def on_policy(logp, old, ref, advantage):
    """The gradient of REINFORCE: -A grad log p; its value has a ratio of 1."""
    terms = [(torch.exp(p - p.detach()) * -a).mean() for p, a in zip(logp, advantage, strict=True)]
    return sum(terms) / len(terms)


TABLE = {
    "grpo": ({"kl_coefficient": 0.04}, "sampler_logp", grpo),
    "dr_grpo": ({"average": "max_tokens", "max_tokens": 7, "old": "policy"}, "old_logp", dr_grpo),
    "dapo": ({"average": "tokens", "clip_high": 0.28}, "sampler_logp", dapo),
    "gspo": ({"ratio": "sequence_mean", "clip_low": 0.05, "clip_high": 0.06}, "sampler_logp", gspo),
    "rloo": ({"ratio": "sequence"}, "sampler_logp", rloo),
    "on policy": ({"old": "same"}, "old_logp", on_policy),
}


@pytest.mark.parametrize("name", TABLE)
def test_surrogates_are_those_of_their_papers(name):
    settings, old, formula = TABLE[name]
    outputs, batch = given()
    loss = PolicyGradient(**settings)(outputs, batch)
    logp = per_segment(batch, log_probabilities(outputs))
    others = [per_segment(batch, batch.extras[each]) for each in (old, "reference_logp", "advantage")]
    assert_same(loss.sum / batch.counts()[loss.count_key], formula(logp, *others), outputs.hidden_TD)


def test_some_tokens_are_clipped_and_some_are_not():
    outputs, batch = given()
    told = PolicyGradient(average="tokens")(outputs, batch)
    assert 0 < told.metrics["clipped"] < batch.counts()["tokens"]


def test_entropy_and_a_cap_on_the_samplers_error_are_as_written_out():
    outputs, batch = given()
    settings = {"average": "tokens", "old": "policy", "sampler_cap": 1.1, "entropy_coefficient": 0.3}
    loss = PolicyGradient(**settings)(outputs, batch)
    logp, extras = log_probabilities(outputs), batch.extras
    error = torch.exp(extras["old_logp"] - extras["sampler_logp"])
    error = torch.minimum(error, torch.full_like(error, 1.1))
    term = error * ppo_term(torch.exp(logp - extras["old_logp"]), extras["advantage"])
    p = outputs.hidden_TD.softmax(-1)
    term = term + 0.3 * (p * p.log()).sum(-1)
    assert_same(loss.sum, (term * batch.weight).sum(), outputs.hidden_TD)


class Valued(StandIn):
    """A stand-in whose first score is the hidden state that values are read off."""

    class Model:
        value_head = torch.nn.Linear(11, 1, dtype=torch.float64)

        def get_submodule(self, name):
            return self.value_head

    def __init__(self, batch):
        super().__init__(batch)
        self.model = self.Model()


def test_values_learn_the_returns_and_move_little():
    batch = one_batch(rollouts())
    outputs = Valued(near(StandIn(batch), batch))
    batch = outputs.batch
    settings = {"average": "tokens", "value_coefficient": 0.5, "value_clip": 0.1}
    loss = PolicyGradient(**settings)(outputs, batch)
    plain = PolicyGradient(average="tokens")(outputs, batch)
    head = outputs.model.value_head
    value = (outputs.hidden_TD @ head.weight[0]) + head.bias
    old = batch.extras["value"]
    goal = batch.extras["advantage"] + old
    near_value = torch.where(value > old + 0.1, old + 0.1, torch.where(value < old - 0.1, old - 0.1, value))
    worse = torch.where((value - goal).abs() > (near_value - goal).abs(), value - goal, near_value - goal)
    expected = 0.5 * 0.5 * (worse**2 * batch.weight).sum()
    assert_same(loss.sum - plain.sum, expected, outputs.hidden_TD)
    assert_same(loss.sum, plain.sum + expected, outputs.hidden_TD)


def test_estimates_of_the_divergence_have_its_mean():
    generator = torch.Generator().manual_seed(0)
    p, q = torch.randn(2, 6, generator=generator, dtype=torch.float64).mul(0.5).log_softmax(-1)
    exact = float((p.exp() * (p - q)).sum())
    for kind in ("k1", "k3"):
        assert float((p.exp() * estimate(p, q, kind)).sum()) == pytest.approx(exact, rel=1e-12)
    assert (estimate(p, q, "k3") >= 0).all()
    scores = p.clone().requires_grad_()
    now = scores.log_softmax(-1)
    (wanted,) = torch.autograd.grad((now.exp() * (now - q)).sum(), scores, retain_graph=True)
    (found,) = torch.autograd.grad((p.exp() * estimate(now, q, "k2")).sum(), scores)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-15)


def test_settings_name_what_they_need_and_what_does_not_fit():
    ppo = PolicyGradient(old="policy", kl_coefficient=0.1, value_coefficient=0.1)
    assert ppo.needs == ("old_logp", "reference_logp", "value", "advantage")
    assert PolicyGradient().needs == ("sampler_logp", "advantage")
    with pytest.raises(ValidationError, match="go together"):
        PolicyGradient(max_tokens=5)
    with pytest.raises(ValidationError, match="needs none"):
        PolicyGradient(sampler_cap=2.0)
