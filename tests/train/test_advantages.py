import pytest
import torch

from mainspring.train.advantages import TINY, Gae, gae, group_advantages, token_rewards
from mainspring.train.batch import Segment, pack

REWARDS = [0.0, 1.0, 0.25, 1.0, 0.5]


def test_grpo_is_the_reward_above_the_mean_in_deviations():
    mean = sum(REWARDS) / 5
    std = (sum((each - mean) ** 2 for each in REWARDS) / 4) ** 0.5
    found = group_advantages(torch.tensor(REWARDS, dtype=torch.float64), "grpo")
    assert found.tolist() == pytest.approx([(each - mean) / (std + TINY) for each in REWARDS], rel=1e-12)


def test_dr_grpo_leaves_the_deviation_out():
    found = group_advantages(torch.tensor(REWARDS, dtype=torch.float64), "dr_grpo")
    assert found.tolist() == pytest.approx([each - sum(REWARDS) / 5 for each in REWARDS], rel=1e-12)


def test_rloo_compares_each_answer_with_the_others():
    others = [(sum(REWARDS) - each) / 4 for each in REWARDS]
    found = group_advantages(torch.tensor(REWARDS, dtype=torch.float64), "rloo")
    assert found.tolist() == pytest.approx(
        [each - other for each, other in zip(REWARDS, others, strict=True)]
    )


@pytest.mark.parametrize("kind", ["grpo", "dr_grpo", "rloo"])
def test_answers_that_are_worth_the_same_teach_nothing(kind):
    assert group_advantages(torch.full((4,), 0.7, dtype=torch.float64), kind).abs().max() < 1e-9


def test_a_single_answer_has_nothing_to_be_compared_with():
    assert group_advantages(torch.tensor([0.7]), "grpo").tolist() == [0.0]
    assert group_advantages(torch.tensor([0.7]), "rloo").tolist() == [pytest.approx(0.7)]


def test_gae_is_the_discounted_sum_of_surprises():
    generator = torch.Generator().manual_seed(0)
    reward, value = torch.randn(2, 9, dtype=torch.float64, generator=generator)
    gamma, lam = 0.97, 0.9
    values = [*value.tolist(), 0.0]
    delta = [reward[t] + gamma * values[t + 1] - values[t] for t in range(9)]
    expected = [sum((gamma * lam) ** (s - t) * delta[s] for s in range(t, 9)) for t in range(9)]
    found = gae(reward, value, discount=gamma, trace=lam)
    assert found.tolist() == pytest.approx([float(each) for each in expected], rel=1e-12)


def test_gae_with_a_trace_of_one_is_return_minus_value_and_with_zero_one_surprise():
    reward, value = torch.tensor([0.0, 0.0, 1.0]), torch.tensor([0.5, 0.25, 0.125])
    assert gae(reward, value, discount=1.0, trace=1.0).tolist() == [0.5, 0.75, 0.875]
    assert gae(reward, value, discount=1.0, trace=0.0).tolist() == [-0.25, -0.125, 0.875]


def test_tokens_pay_for_leaving_the_reference_and_the_last_one_earns_the_reward():
    logp, reference = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-2.0, -2.0, -0.25])
    assert token_rewards(1.0, logp, reference, 0.1).tolist() == pytest.approx([-0.1, 0.0, 1.025])


def test_gae_annotates_the_trained_tokens_of_every_answer():
    def answer(prompt, tokens, reward):
        ids = [1] * (prompt + tokens)
        value = [9.0] * prompt + [0.5 + 0.1 * n for n in range(tokens)]
        old, reference = [0.0] * prompt + [-1.0] * tokens, [0.0] * prompt + [-1.5] * tokens
        extras = {"value": value, "old_logp": old, "reference_logp": reference}
        weight = [0.0] * prompt + [1.0] * tokens
        return Segment(ids=ids, weight=weight, name="a", reward=reward, extras=extras)

    segments = (answer(3, 4, 1.0), answer(2, 1, 0.0))
    (batch,) = pack([segments], 64)
    found = Gae(discount=0.9, trace=0.8, kl_coefficient=0.2)(batch)
    expected = torch.zeros(len(batch.ids), dtype=torch.float64)
    for place, segment in zip(batch.segments, (segments[p.index] for p in batch.segments), strict=True):
        count = int(sum(segment.weight))
        value = torch.tensor(segment.extras["value"][-count:], dtype=torch.float64)
        earned = torch.full((count,), -0.1, dtype=torch.float64)
        earned[-1] += segment.reward
        start = place.start + place.length - 1 - count
        expected[start : start + count] = gae(earned, value, discount=0.9, trace=0.8)
    assert torch.allclose(found, expected, atol=1e-12)
    assert found[batch.weight == 0].abs().max() == 0
