import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.infer.sampling import choose
from mainspring.schema import Sampling

pytestmark = pytest.mark.slow


def make_scores(size=50, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 2


def softmax(scores):
    p = np.exp(scores - scores.max())
    return p / p.sum()


def filtered(scores_V, sampling):
    """The distribution to draw from, by the definition."""
    p = softmax(scores_V.double().numpy() / sampling.temperature)
    order = np.argsort(-p, kind="stable")
    kept = order[: sampling.top_k or len(p)]
    total, reached, few = p[kept].sum(), 0.0, []
    for token_id in kept:
        few.append(token_id)
        reached += p[token_id]
        if reached >= sampling.top_p * total:
            break
    result = np.zeros_like(p)
    result[few] = p[few] / p[few].sum()
    return result


def draw(scores_V, sampling, count, seed=3):
    return np.array([choose(scores_V, sampling, seed, position)[0] for position in range(count)])


def test_temperature_zero_takes_the_best_and_the_lowest_id_among_equals():
    scores = torch.tensor([0.0, 3.0, 1.0, 3.0])
    assert choose(scores, Sampling(), 0, 0)[0] == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 60), st.floats(0.05, 1.0), st.floats(0.2, 3.0), st.integers(0, 100))
def test_only_ids_that_the_filters_keep_are_drawn(top_k, top_p, temperature, seed):
    scores = make_scores(seed=seed)
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    allowed = filtered(scores, sampling)
    drawn = draw(scores, sampling, 60)
    assert (allowed[drawn] > 0).all()


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0),
        Sampling(temperature=0.7),
        Sampling(temperature=1.5, top_k=7),
        Sampling(temperature=1.0, top_p=0.8),
        Sampling(temperature=1.2, top_k=12, top_p=0.9),
    ],
    ids=str,
)
def test_draws_follow_the_distribution(sampling):
    scores, count = make_scores(20), 4000
    expected = filtered(scores, sampling) * count
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
    assert 0 <= choose(make_scores(), Sampling(temperature=1.0), seed, 0)[0] < 50


@pytest.mark.parametrize("temperature", [0.0, 0.5, 2.0])
def test_the_log_probability_is_that_of_the_unmodified_distribution(temperature):
    scores = make_scores()
    token_id, logprob = choose(scores, Sampling(temperature=temperature, top_k=3), 1, 1)
    assert logprob == pytest.approx(np.log(softmax(scores.double().numpy())[token_id]), abs=1e-5)


def test_a_low_temperature_comes_close_to_the_best_and_a_high_one_spreads():
    scores = make_scores()
    assert set(draw(scores, Sampling(temperature=0.01), 100)) == {int(scores.argmax())}
    assert len(set(draw(scores, Sampling(temperature=100.0), 200))) > 30
