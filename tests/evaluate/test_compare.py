import numpy as np
import pytest
from scipy import stats

from mainspring.errors import UserError
from mainspring.evaluate.compare import paired_bootstrap


def scores(lead: float, num_items: int = 60, seed: int = 1) -> tuple[list[float], list[float]]:
    random = np.random.default_rng(seed)
    before = random.uniform(0, 1, num_items)
    return before.tolist(), (before + random.normal(lead, 0.3, num_items)).tolist()


@pytest.mark.parametrize("lead", [-0.05, 0.0, 0.03, 0.06])
def test_the_p_value_is_near_that_of_a_sign_permutation_test(lead: float):
    before, after = scores(lead)
    differences = np.asarray(after) - np.asarray(before)
    permuted = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", alternative="greater", n_resamples=20_000, rng=0
    )
    assert paired_bootstrap(before, after).p_value == pytest.approx(permuted.pvalue, abs=0.02)


def test_the_interval_is_that_of_scipys_percentile_bootstrap():
    before, after = scores(0.1)
    differences = np.asarray(after) - np.asarray(before)
    expected = stats.bootstrap(
        (differences,), np.mean, n_resamples=10_000, method="percentile", rng=0
    ).confidence_interval
    found = paired_bootstrap(before, after)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)
    assert found.difference == pytest.approx(found.after - found.before)


def test_equal_scores_are_no_lead():
    same = [0.5] * 40
    assert paired_bootstrap(same, same).p_value == 1.0


def test_a_lead_on_every_item_is_beyond_luck():
    assert paired_bootstrap([0.2] * 40, [0.4] * 40).p_value < 0.001


def test_the_same_scores_and_seed_give_the_same_figures():
    assert paired_bootstrap(*scores(0.05), seed=3) == paired_bootstrap(*scores(0.05), seed=3)


def test_too_few_items_are_refused():
    with pytest.raises(UserError, match="39 items were given; a comparison needs at least 40"):
        paired_bootstrap([0.0] * 39, [1.0] * 39)


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(UserError, match="40 scores were given before and 41 after"):
        paired_bootstrap([0.0] * 40, [1.0] * 41)
