"""The losses against TRL's own code on the same log-probabilities."""

import pytest
import torch

from fakes_objectives import StandIn, assert_same, log_probabilities, one_batch, pairs, per_segment, segment
from mainspring.train.objectives.distill import Distill
from mainspring.train.objectives.kto import Kto
from mainspring.train.objectives.policy import PolicyGradient
from mainspring.train.objectives.preference import Preference
from mainspring.train.objectives.reward import bradley_terry

pytestmark = pytest.mark.slow
REL = 1e-5


@pytest.fixture(scope="module")
def trl():
    import oracle_trl

    return oracle_trl


def mean(loss, batch):
    return loss.sum / batch.counts()[loss.count_key]


def sides(rows):
    """The chosen ones, then the rejected ones."""
    return [*rows[::2], *rows[1::2]]


def preferred():
    batch = one_batch(pairs())
    outputs = StandIn(batch)
    return outputs, batch, per_segment(batch, log_probabilities(outputs))


@pytest.mark.parametrize(
    ("settings", "theirs"),
    [
        ({}, "sigmoid"),
        ({"per_token": True}, "sigmoid_norm"),
        ({"loss": "robust", "label_smoothing": 0.2}, "robust"),
        ({"loss": "ipo", "per_token": True}, "ipo"),
        ({"loss": "hinge", "beta": 0.2}, "hinge"),
        ({"loss": "apo_zero"}, "apo_zero"),
        ({"loss": "apo_down"}, "apo_down"),
        ({"loss": "nca"}, "nca_pair"),
        ({"loss": "sppo"}, "sppo_hard"),
    ],
)
def test_losses_with_a_reference_are_those_of_its_dpo(trl, settings, theirs):
    outputs, batch, logp = preferred()
    objective = Preference(**settings)
    reference = per_segment(batch, batch.extras["reference_logp"])
    expected = trl.dpo(
        sides(logp), sides(reference), loss=theirs, beta=objective.beta,
        label_smoothing=objective.label_smoothing,
    )  # fmt: skip
    assert_same(mean(objective(outputs, batch), batch), expected, outputs.hidden_TD, REL)


def test_losses_without_a_reference_are_those_of_its_cpo_and_orpo(trl):
    outputs, batch, logp = preferred()
    totals = torch.stack([each.sum() for each in logp])
    means = torch.stack([each.mean() for each in logp])
    likelihood = -means[::2].mean()
    simpo = Preference(loss="simpo", beta=2.0, gamma=0.6)
    expected = trl.cpo(means[::2], means[1::2], loss="simpo", beta=2.0, gamma=0.6)
    assert_same(mean(simpo(outputs, batch), batch), expected, outputs.hidden_TD, REL)
    cpo = Preference(loss="cpo", label_smoothing=0.1)
    expected = trl.cpo(totals[::2], totals[1::2], loss="sigmoid", beta=0.1, label_smoothing=0.1) + likelihood
    assert_same(mean(cpo(outputs, batch), batch), expected, outputs.hidden_TD, REL)
    expected = trl.orpo(means[::2], means[1::2], beta=0.3) + likelihood
    orpo = Preference(loss="orpo", beta=0.3)(outputs, batch)
    assert_same(mean(orpo, batch), expected, outputs.hidden_TD, REL)


def test_conservative_dpo_is_its_smoothed_cpo_of_log_ratios(trl):
    outputs, batch, logp = preferred()
    reference = per_segment(batch, batch.extras["reference_logp"])
    ratio = torch.stack([one.sum() - two.sum() for one, two in zip(logp, reference, strict=True)])
    expected = trl.cpo(ratio[::2], ratio[1::2], loss="sigmoid", beta=0.1, label_smoothing=0.2)
    ours = mean(Preference(label_smoothing=0.2)(outputs, batch), batch)
    assert_same(ours, expected, outputs.hidden_TD, REL)


def test_kto_with_mismatched_answers_is_its_kto(trl):
    extras = ("reference_logp",)
    judged = [(segment(at, label=float(at != 1), extras=extras),) for at in range(3)]
    others = [(segment(at + 5, role="mismatched", extras=extras),) for at in range(3)]
    batch = one_batch(judged + others)
    outputs = StandIn(batch, seed=4)
    logp = per_segment(batch, log_probabilities(outputs))
    reference = per_segment(batch, batch.extras["reference_logp"])
    expected = trl.kto(
        logp[:3], reference[:3], logp[3:], reference[3:], [True, False, True],
        beta=0.1, desirable=1.5, undesirable=0.8,
    )  # fmt: skip
    ours = Kto(desirable_weight=1.5, undesirable_weight=0.8)(outputs, batch)
    assert_same(mean(ours, batch), expected, outputs.hidden_TD, REL)


def test_rewards_are_its_rewards(trl):
    score = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    chosen, rejected, margin = score[:4], score[4:], torch.tensor([0.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    expected = trl.reward(chosen, rejected, margin, centering=0.01)
    ours = (bradley_terry(chosen, rejected, margin) + 0.01 * (chosen + rejected) ** 2).mean()
    assert_same(ours, expected, score, REL)


def rolled_out():
    extras = ("old_logp", "sampler_logp", "reference_logp", "advantage")
    batch = one_batch([tuple(segment(at, extras=extras, answer=2 + at) for at in range(4))])
    outputs = StandIn(batch)
    now = log_probabilities(outputs).detach()
    for name in extras[:3]:
        generator = torch.Generator().manual_seed(len(name))
        batch = batch.with_extra(
            name, now + 0.2 * torch.randn(len(now), generator=generator, dtype=torch.float64)
        )
    advantage_S = torch.tensor([1.0, -1.0, 0.5, -0.5], dtype=torch.float64)
    batch = batch.with_extra("advantage", advantage_S[batch.segment_of()])
    rows = {name: per_segment(batch, batch.extras[name]) for name in extras}
    return outputs, batch, rows


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"kl_coefficient": 0.04}, {"beta": 0.04}),
        ({"average": "max_tokens", "max_tokens": 9}, {"loss_type": "dr_grpo", "max_completion_length": 9}),
        ({"average": "tokens", "clip_high": 0.28}, {"loss_type": "dapo", "epsilon_high": 0.28}),
        (
            {"ratio": "sequence_mean", "clip_high": 0.05},
            {"importance_sampling_level": "sequence", "epsilon_high": 0.05},
        ),
    ],
)
def test_group_relative_surrogates_are_those_of_its_grpo(trl, ours, theirs):
    outputs, batch, rows = rolled_out()
    logp = per_segment(batch, log_probabilities(outputs))
    expected = trl.grpo(logp, rows["old_logp"], rows["reference_logp"], rows["advantage"], **theirs)
    loss = PolicyGradient(old="policy", **ours)(outputs, batch)
    assert_same(mean(loss, batch), expected, outputs.hidden_TD, REL)


def test_a_capped_correction_and_an_entropy_bonus_are_those_of_its_grpo(trl):
    outputs, batch, rows = rolled_out()
    correction = [
        (old - said).exp().clamp(max=1.1)
        for old, said in zip(rows["old_logp"], rows["sampler_logp"], strict=True)
    ]
    p = outputs.hidden_TD.softmax(-1)
    expected = trl.grpo(
        per_segment(batch, log_probabilities(outputs)), rows["old_logp"], rows["reference_logp"],
        rows["advantage"], loss_type="dapo", correction=correction, entropy_coef=0.02,
        entropies=per_segment(batch, -(p * p.log()).sum(-1)),
    )  # fmt: skip
    settings = {"average": "tokens", "old": "policy", "sampler_cap": 1.1, "entropy_coefficient": 0.02}
    loss = PolicyGradient(**settings)(outputs, batch)
    assert_same(mean(loss, batch), expected, outputs.hidden_TD, REL)


def test_ratios_of_whole_answers_are_those_of_its_rloo(trl):
    outputs, batch, rows = rolled_out()
    advantage = torch.stack([each[0] for each in rows["advantage"]])
    expected = trl.rloo(per_segment(batch, log_probabilities(outputs)), rows["old_logp"], advantage)
    loss = PolicyGradient(old="policy", ratio="sequence")(outputs, batch)
    assert_same(mean(loss, batch), expected, outputs.hidden_TD, REL)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_divergences_are_those_of_its_gkd(trl, beta, temperature):
    batch = one_batch([(segment(at),) for at in range(3)])
    generator = torch.Generator().manual_seed(7)
    teacher = torch.randn(len(batch.trained()), 11, generator=generator, dtype=torch.float64)
    batch = batch.with_extra("teacher_logits", teacher)
    outputs = StandIn(batch)
    student = outputs.hidden_TD[batch.trained()]
    expected = trl.jsd(student, teacher, beta=beta, temperature=temperature)
    ours = Distill(beta=beta, temperature=temperature)(outputs, batch).sum
    assert_same(ours, expected, outputs.hidden_TD, REL)
