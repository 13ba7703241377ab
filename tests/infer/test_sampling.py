import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.errors import ConfigError
from mainspring.infer.filters import kept, nearest
from mainspring.infer.sampling import Row, Seen, _place, check, choose_rows, prompt_logprobs
from mainspring.schema import Sampling


def make_scores(size=50, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 2


def choose(scores_V, sampling, seed=3, position=0, **row):
    return choose_rows(scores_V.unsqueeze(0), [0], [Row(sampling, seed, position, **row)])[0]


def draw(scores_V, sampling, count, seed=3, **row):
    rows = [Row(sampling, seed, position, **row) for position in range(count)]
    return np.array([each.id for each in choose_rows(scores_V.expand(count, -1), range(count), rows)])


def bits(ids, size=50):
    mask = np.zeros(-(-size // 32), np.uint32)
    for each in ids:
        mask[each // 32] |= np.uint32(1 << each % 32)
    return mask


def test_temperature_zero_takes_the_best_and_the_lowest_id_among_equals():
    assert choose(torch.tensor([0.0, 3.0, 1.0, 3.0]), Sampling()).id == 1


def test_log_probability_entropy_and_alternatives_are_those_of_the_unmodified_distribution():
    scores = make_scores()
    sampling = Sampling(temperature=0.3, top_k=3, logit_bias={7: 50.0}, repetition_penalty=2.0, logprobs=5)
    chosen = choose(scores, sampling, seen=Seen(range(50)), mask=bits([7, 8]))
    exact = torch.log_softmax(scores.double(), 0)
    best = exact.argsort(descending=True)[:5].tolist()
    assert chosen.id == 7
    assert chosen.logprob == pytest.approx(float(exact[7]), abs=2e-6)
    assert chosen.entropy == pytest.approx(float(-(exact.exp() * exact).sum()), abs=2e-6)
    assert [each for each, _ in chosen.alternatives] == best
    assert [each for _, each in chosen.alternatives] == pytest.approx(exact[best].tolist(), abs=2e-6)


def test_scores_of_minus_infinity_have_no_probability_and_spoil_no_entropy():
    chosen = choose(torch.tensor([1.0, -math.inf, 1.0]), Sampling(temperature=1.0, logprobs=3))
    assert chosen.entropy == pytest.approx(math.log(2))
    assert chosen.alternatives[2] == (1, -math.inf)


def test_prompt_logprobs_say_the_same_of_given_ids():
    scores = torch.stack([make_scores(seed=seed) for seed in range(3)])
    found = prompt_logprobs(scores, [4, 5, 6], 2)
    assert [each.id for each in found] == [4, 5, 6]
    for each, row in zip(found, scores, strict=True):
        assert each.logprob == pytest.approx(float(torch.log_softmax(row.double(), 0)[each.id]), abs=2e-6)
        assert len(each.alternatives) == 2


@pytest.mark.parametrize("logprobs", [None, 4])
@pytest.mark.parametrize("num_rows", [1, 2, 17])
def test_a_row_has_the_same_bits_whatever_stands_beside_it(num_rows, logprobs):
    samplings = [
        Sampling(logprobs=logprobs),
        Sampling(temperature=0.8, top_k=9, top_p=0.9, logprobs=logprobs),
        Sampling(temperature=1.3, typical_p=0.8, min_p=0.01, repetition_penalty=1.3, logprobs=logprobs),
    ]
    scores, hostile = make_scores(1003), torch.full((num_rows, 1003), 1e30)
    hostile[:, ::3] = math.nan
    for sampling in samplings:
        alone = choose(scores, sampling, position=5, seen=Seen([1, 2]))
        for place in {0, num_rows // 2, num_rows - 1}:
            rows = [Row(Sampling(temperature=1.0), 1, 1) for _ in range(num_rows)]
            together = hostile.clone()
            together[place], rows[place] = scores, Row(sampling, 3, 5, seen=Seen([1, 2]))
            assert choose_rows(together, range(num_rows), rows)[place] == alone


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 700), st.integers(1, 800), st.integers(0, 100))
def test_the_nearest_are_those_of_a_whole_stable_sort(size, count, seed):
    far = np.random.default_rng(seed).integers(0, 40, size).astype(np.float32)  # many equal ones
    assert nearest(far, count).tolist() == np.argsort(far, kind="stable")[:count].tolist()


def test_draws_do_not_depend_on_how_many_ids_were_sorted_first():
    flat = make_scores(3000) * 0.01  # nearly all are needed to reach top_p
    ids, weights = kept(flat.numpy(), Sampling(temperature=1.0, top_p=0.99))
    order = np.argsort(-flat.numpy(), kind="stable")
    assert ids.tolist() == order[: len(ids)].tolist()
    assert 2900 < len(ids) < 3000
    assert weights[:-1].sum() < 0.99 * np.exp(flat.numpy() - flat.numpy().max()).sum() <= weights.sum() + 1e-3


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2000), st.floats(0, 1, exclude_max=True), st.integers(0, 100), st.floats(0, 1))
def test_a_place_is_that_of_one_cumulative_sum(size, part, seed, share_of_none):
    chance = np.random.default_rng(seed)
    weights = chance.integers(1, 9, size).astype(np.float32)  # sums of whole numbers have no rounding
    weights[chance.random(size) < share_of_none] = 0
    weights[chance.integers(size)] = 1
    sums = np.cumsum(weights)
    place = _place(weights, part)
    assert weights[place] > 0
    assert place == np.searchsorted(sums, part * sums[-1], side="right")


def test_a_place_never_lies_beyond_the_last_weight():
    weights = np.zeros(1000, np.float32)
    weights[[3, 700]] = 1e-3, 3e-3
    assert [_place(weights, part) for part in (0.0, 0.2, 0.3, 1.0)] == [3, 3, 700, 700]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.7),
        Sampling(temperature=1.5, top_k=7),
        Sampling(temperature=1.0, top_p=0.8),
        Sampling(temperature=1.0, typical_p=0.7),
        Sampling(temperature=1.2, top_k=12, top_p=0.9, min_p=0.05),
    ],
    ids=str,
)
def test_draws_follow_the_distribution(sampling):
    scores, count = make_scores(20), 4000
    ids, weights = kept(scores.numpy(), sampling)
    expected = np.zeros(20)
    expected[ids if ids is not None else np.arange(20)] = weights / weights.sum() * count
    seen = np.bincount(draw(scores, sampling, count), minlength=20)
    assert (seen[expected == 0] == 0).all()
    rare = expected < 5
    observed = np.append(seen[~rare], seen[rare].sum())
    wanted = np.append(expected[~rare], max(expected[rare].sum(), 1e-9))
    chi_square = ((observed - wanted) ** 2 / wanted)[wanted >= 1].sum()
    freedom = (wanted >= 1).sum() - 1
    assert chi_square < freedom + 4 * np.sqrt(2 * freedom)


def test_the_random_number_is_fixed_by_seed_and_position():
    scores, sampling = make_scores(), Sampling(temperature=1.0)
    assert draw(scores, sampling, 50).tolist() == draw(scores, sampling, 50).tolist()
    assert draw(scores, sampling, 50).tolist() != draw(scores, sampling, 50, seed=4).tolist()
    assert len(set(draw(scores, sampling, 50).tolist())) > 5


@pytest.mark.parametrize("seed", [0, -1, -(2**63), 2**63 - 1])
def test_any_seed_of_64_bits_is_taken(seed):
    assert 0 <= choose(make_scores(), Sampling(temperature=1.0), seed).id < 50


def test_a_low_temperature_comes_close_to_the_best_and_a_high_one_spreads():
    scores = make_scores()
    for temperature in (1e-300, 1e-6, 0.01):
        assert set(draw(scores, Sampling(temperature=temperature), 50)) == {int(scores.argmax())}
    assert len(set(draw(scores, Sampling(temperature=100.0), 200))) > 30


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_only_ids_of_the_mask_are_chosen_and_none_beyond_its_end(temperature):
    allowed = {0, 31, 32, 49}
    assert set(draw(make_scores(), Sampling(temperature=temperature), 200, mask=bits(allowed))) <= allowed
    assert set(draw(make_scores(80), Sampling(temperature=temperature), 200, mask=bits([3, 4]))) <= {3, 4}


def test_ends_come_only_after_min_tokens_unless_a_grammar_allows_nothing_else():
    scores = torch.zeros(50)
    scores[3], scores[5] = 9.0, 8.0
    sampling = Sampling(min_tokens=2, stop_ids=(5,))
    assert choose(scores, sampling, num_generated=1, end_ids=(3,)).id == 0
    assert choose(scores, sampling, num_generated=2, end_ids=(3,)).id == 3
    assert choose(scores, sampling, num_generated=0, end_ids=(3,), mask=bits([3])).id == 3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_where_nothing_can_be_chosen_the_log_probability_is_no_number(temperature):
    sampling = Sampling(temperature=temperature)
    assert math.isnan(choose(make_scores(), sampling, mask=bits([])).logprob)
    for broken in (torch.full((50,), math.nan), torch.full((50,), math.inf), torch.full((50,), -math.inf)):
        assert math.isnan(choose(broken, sampling).logprob)
    one = make_scores()
    one[4] = math.nan
    assert math.isnan(choose(one, sampling).logprob)


def test_penalties_pass_over_ids_that_a_draft_model_does_not_know():
    seen, scores_V = Seen([1, 9]), np.ones(4, np.float32)
    for token_id in (2, 8):
        seen.add(token_id)
    seen.penalize(scores_V, Sampling(presence_penalty=0.5, frequency_penalty=0.25, repetition_penalty=2.0))
    assert scores_V.tolist() == [1.0, 0.5, -0.25, 1.0]


def test_presence_and_frequency_count_generated_ids_alone():
    scores = torch.tensor([2.0, 1.9, 1.0, -5.0])
    seen = Seen([0, 0])
    sampling = Sampling(presence_penalty=0.2, frequency_penalty=0.4)
    assert choose(scores, sampling, seen=seen).id == 0
    seen.add(0)
    assert choose(scores, sampling, seen=seen).id == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": -1.0}, "0 or more"),
        ({"seed": 2**64}, "seed"),
        ({"seed": -(2**63) - 1}, "seed"),
        ({"top_k": -1}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"min_p": 1.5}, "min_p"),
        ({"typical_p": math.nan}, "typical_p"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"presence_penalty": 3.0}, "presence_penalty"),
        ({"frequency_penalty": math.inf}, "frequency_penalty"),
        ({"logit_bias": {3: math.nan}}, "logit_bias"),
        ({"logit_bias": {50: 1.0}}, "ids from 0 to 49"),
        ({"stop_ids": (-1,)}, "stop_ids"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens"),
        ({"logprobs": 201}, "from 0 to 200"),
        ({"prompt_logprobs": -1}, "prompt_logprobs"),
    ],
    ids=str,
)
def test_a_value_that_means_nothing_is_refused_by_its_name(wrong, said):
    check(Sampling(), vocab_size=50)
    with pytest.raises(ConfigError, match=said):
        check(Sampling(**wrong), vocab_size=50)
