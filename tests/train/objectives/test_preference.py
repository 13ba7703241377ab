"""Losses of pairs and of single answers against their papers' formulas, in float64."""

import math

import pytest
import torch
from pydantic import ValidationError

from fakes_objectives import StandIn, assert_same, log_probabilities, one_batch, pairs, per_segment, segment
from mainspring.errors import ConfigError
from mainspring.train.objectives.kto import Kto
from mainspring.train.objectives.preference import Preference


def log_sigmoid(x):
    return torch.log(1 / (1 + torch.exp(-x)))


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def odds(x):
    return torch.exp(x) / (1 - torch.exp(x))


# (settings, formula): c, r are sums of log p of the two answers, d, s of the reference's; n, m their tokens.
TABLE = {
    "dpo": ({"beta": 0.3}, lambda c, r, d, s, n, m: -log_sigmoid(0.3 * ((c - d) - (r - s)))),
    "cdpo": (
        {"beta": 0.3, "label_smoothing": 0.2},
        lambda c, r, d, s, n, m: (
            -0.8 * log_sigmoid(0.3 * (c - d - r + s)) - 0.2 * log_sigmoid(-0.3 * (c - d - r + s))
        ),
    ),
    "robust": (
        {"loss": "robust", "label_smoothing": 0.2},
        lambda c, r, d, s, n, m: (
            (-0.8 * log_sigmoid(0.1 * (c - d - r + s)) + 0.2 * log_sigmoid(-0.1 * (c - d - r + s))) / 0.6
        ),
    ),
    "ipo": ({"loss": "ipo"}, lambda c, r, d, s, n, m: ((c - d) - (r - s) - 1 / 0.2) ** 2),
    "ipo a token": (
        {"loss": "ipo", "per_token": True},
        lambda c, r, d, s, n, m: ((c - d) / n - (r - s) / m - 5) ** 2,
    ),
    "hinge": ({"loss": "hinge"}, lambda c, r, d, s, n, m: torch.clamp(1 - 0.1 * (c - d - r + s), min=0)),
    "apo_zero": (
        {"loss": "apo_zero"},
        lambda c, r, d, s, n, m: -sigmoid(0.1 * (c - d)) + sigmoid(0.1 * (r - s)) + 1,
    ),
    "apo_down": (
        {"loss": "apo_down"},
        lambda c, r, d, s, n, m: sigmoid(0.1 * (c - d)) - sigmoid(0.1 * (c - d - r + s)) + 1,
    ),
    "nca": (
        {"loss": "nca"},
        lambda c, r, d, s, n, m: (
            -log_sigmoid(0.1 * (c - d)) - 0.5 * log_sigmoid(-0.1 * (c - d)) - 0.5 * log_sigmoid(-0.1 * (r - s))
        ),
    ),
    "sppo": (
        {"loss": "sppo", "beta": 0.5},
        lambda c, r, d, s, n, m: (c - d - 1) ** 2 + (r - s + 1) ** 2,
    ),
    "cpo": (
        {"loss": "cpo"},
        lambda c, r, d, s, n, m: -log_sigmoid(0.1 * (c - r)) - c / n,
    ),
    "simpo": (
        {"loss": "simpo", "beta": 2.0, "gamma": 0.5},
        lambda c, r, d, s, n, m: -log_sigmoid(2 / n * c - 2 / m * r - 0.5),
    ),
    "orpo": (
        {"loss": "orpo", "beta": 0.2},
        lambda c, r, d, s, n, m: -c / n - 0.2 * log_sigmoid(torch.log(odds(c / n) / odds(r / m))),
    ),
    "rpo": (
        {"sft_coefficient": 0.7},
        lambda c, r, d, s, n, m: -log_sigmoid(0.1 * (c - d - r + s)) - 0.7 * c / n,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_losses_of_pairs_are_those_of_their_papers(name):
    settings, formula = TABLE[name]
    batch = one_batch(pairs())
    outputs = StandIn(batch)
    loss = Preference(**settings)(outputs, batch)
    logp = per_segment(batch, log_probabilities(outputs))
    reference = per_segment(batch, batch.extras["reference_logp"])
    expected = sum(
        formula(
            logp[at].sum(), logp[at + 1].sum(), reference[at].sum(), reference[at + 1].sum(), len(logp[at]),
            len(logp[at + 1]),
        )
        for at in (0, 2, 4)
    )  # fmt: skip
    assert loss.count_key == "groups"
    assert_same(loss.sum, expected, outputs.hidden_TD)


def test_metrics_of_pairs_are_implicit_rewards():
    batch = one_batch(pairs())
    outputs = StandIn(batch)
    metrics = Preference(beta=0.5)(outputs, batch).metrics
    logp = [each.sum() for each in per_segment(batch, log_probabilities(outputs).detach())]
    reference = [each.sum() for each in per_segment(batch, batch.extras["reference_logp"])]
    rewards = [float(0.5 * (one - two)) for one, two in zip(logp, reference, strict=True)]
    assert metrics["chosen_reward"] == pytest.approx(sum(rewards[::2]))
    assert metrics["rejected_reward"] == pytest.approx(sum(rewards[1::2]))
    assert metrics["margin"] == pytest.approx(sum(rewards[::2]) - sum(rewards[1::2]))
    assert metrics["accuracy"] == sum(c > r for c, r in zip(rewards[::2], rewards[1::2], strict=True))


def test_a_likelihood_near_one_leaves_the_odds_finite():
    batch = one_batch(pairs(1))
    scores = torch.zeros(len(batch.ids), 11, dtype=torch.float64)
    scores[torch.arange(len(batch.ids)), batch.target.clamp(min=0)] = 30.0
    outputs = StandIn(batch, scores)
    loss = Preference(loss="orpo")(outputs, batch).sum
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert outputs.hidden_TD.grad.isfinite().all()


@pytest.mark.parametrize("settings", [{"loss": "ipo", "label_smoothing": 0.1}, {"gamma": 0.5}])
def test_a_knob_that_a_loss_does_not_have_is_refused(settings):
    with pytest.raises(ValidationError, match="leave it out"):
        Preference(**settings)


def test_only_losses_with_a_reference_ask_for_one():
    assert Preference(loss="simpo").needs == ()
    assert Preference(loss="ipo").needs == ("reference_logp",)


def test_items_that_are_no_pairs_are_named():
    lonely = one_batch([(segment(0, role="chosen"),)])
    with pytest.raises(ConfigError, match=r"segment 0 has the roles 'chosen'; a pair"):
        Preference(loss="simpo")(StandIn(lonely), lonely)
    odd = one_batch([(segment(0, role="chosen"), segment(1, role="query"))])
    with pytest.raises(ConfigError, match="roles 'chosen', 'query'"):
        Preference(loss="simpo")(StandIn(odd), odd)


def answers(mismatched):
    """Good, bad, good; beside each another prompt's answer, if asked for."""
    extras = ("reference_logp",)
    judged = [(segment(at, label=float(at != 1), extras=extras),) for at in range(3)]
    others = [(segment(at + 5, role="mismatched", extras=extras),) for at in range(3)]
    return judged + (others if mismatched else [])


@pytest.mark.parametrize("mismatched", [True, False])
@pytest.mark.parametrize("seed", [0, 4])
def test_kto_weighs_answers_against_the_divergence_of_the_step(mismatched, seed):
    batch = one_batch(answers(mismatched))
    outputs = StandIn(batch, seed=seed)
    loss = Kto(beta=0.2, desirable_weight=1.3, undesirable_weight=0.9)(outputs, batch)
    logp = per_segment(batch, log_probabilities(outputs))
    reference = per_segment(batch, batch.extras["reference_logp"])
    ratio = [one.sum() - two.sum() for one, two in zip(logp, reference, strict=True)]
    apart = ratio[3:] if mismatched else ratio
    z = max(0.0, sum(float(each.detach()) for each in apart) / 3)
    good = [1.3 * (1 - sigmoid(0.2 * (ratio[at] - z))) for at in (0, 2)]
    expected = (sum(good) + 0.9 * (1 - sigmoid(0.2 * (z - ratio[1])))) / 3
    assert_same(loss.sum / batch.counts()[loss.count_key], expected, outputs.hidden_TD)
    assert loss.metrics["kl"] / batch.counts()["segments"] == pytest.approx(z)


def test_kto_takes_the_sides_of_pairs_and_refuses_what_is_not_judged():
    batch = one_batch(pairs(1))
    sides = Kto()(StandIn(batch), batch).sum
    labels = one_batch(
        [
            (segment(0, label=1.0, extras=("reference_logp",)),),
            (segment(1, label=0.0, extras=("reference_logp",)),),
        ]
    )
    assert float(sides.detach()) == float(Kto()(StandIn(labels), labels).sum.detach())
    unjudged = one_batch([(segment(0, extras=("reference_logp",)),)])
    with pytest.raises(ConfigError, match="segment 0 has neither a label"):
        Kto()(StandIn(unjudged), unjudged)
