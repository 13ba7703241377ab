import numpy as np
import pytest
from scipy import optimize
from sklearn import metrics  # comes with sentence-transformers, an oracle

from mainspring.evaluate import calibration
from mainspring.evaluate.calibration import Fit, auroc, bins, brier, ece, fit, quality


def sure(num, weights=(3.0, 2.0, -1.0, 0.5), seed=0):
    """Answers whose chance of being right is a known sigmoid of their features."""
    random = np.random.default_rng(seed)
    x_NF = np.column_stack(
        [-random.exponential(1.0, num), random.exponential(1.0, num), random.random(num) < 0.5]
    )
    p_N = 1 / (1 + np.exp(-(weights[0] + x_NF @ np.array(weights[1:]))))
    return x_NF, (random.random(num) < p_N).astype(float), p_N


def test_the_fit_is_the_least_of_the_penalized_loss_that_scipy_finds():
    x_NF, right_N, _ = sure(60)
    z_NF = (x_NF - x_NF.mean(0)) / x_NF.std(0)

    def loss(w):
        score = w[0] + z_NF @ w[1:]
        return -np.sum(
            right_N * np.log(1 / (1 + np.exp(-score))) + (1 - right_N) * np.log(1 / (1 + np.exp(score)))
        ) + 0.5 * np.sum(w[1:] ** 2)

    best = optimize.minimize(loss, np.zeros(4), bounds=[(None, None), (0, None), (None, 0), (0, None)])
    weights = best.x[1:] / x_NF.std(0)
    found = fit(x_NF, right_N)
    assert (found.logprob, found.entropy, found.shown) == pytest.approx(weights, abs=1e-3)
    assert found.bias == pytest.approx(best.x[0] - weights @ x_NF.mean(0), abs=1e-3)


def test_many_answers_of_a_known_sigmoid_give_its_weights_back():
    x_NF, right_N, _ = sure(20_000)
    found = fit(x_NF, right_N)
    assert (found.bias, found.logprob, found.entropy, found.shown) == pytest.approx(
        (3.0, 2.0, -1.0, 0.5), abs=0.2
    )


def test_calibrated_confidence_is_honest_where_the_plain_one_is_not():
    (x_NF, right_N, _), (other_NF, wanted_N, true_N) = sure(2_000), sure(2_000, seed=1)
    found = fit(x_NF, right_N)
    p_N = np.array([found.confidence(*row) for row in other_NF])
    assert ece(p_N, wanted_N) < 0.04
    assert ece(np.exp(other_NF[:, 0]), wanted_N) > 0.1
    assert brier(p_N, wanted_N) == pytest.approx(brier(true_N, wanted_N), abs=0.01)


def test_a_feature_that_points_the_wrong_way_is_left_out():
    x_NF, right_N, _ = sure(500, weights=(0.0, -1.0, 1.0, 0.0))
    found = fit(x_NF, right_N)
    assert (found.logprob, found.entropy) == (0.0, 0.0)


def test_surer_answers_never_get_less_confidence():
    found = fit(*sure(40, seed=3)[:2])
    assert found.confidence(-0.1, 0.5) >= found.confidence(-0.2, 0.5) >= found.confidence(-0.2, 0.6)


def test_confidence_is_the_sigmoid_also_far_out():
    one = Fit(bias=1.0, logprob=2.0, entropy=-1.0, shown=0.5)
    assert one.confidence(-0.5, 0.25) == pytest.approx(1 / (1 + np.exp(-0.25)))
    assert (one.confidence(-1e6, 0.0), one.confidence(1e6, 0.0)) == (0.0, 1.0)


def test_perfectly_parted_answers_break_nothing():
    x_NF = np.array([[-1.0 * (n % 2), 0.3, 1.0] for n in range(20)])
    found = fit(x_NF, np.array([1.0 - n % 2 for n in range(20)]))
    assert 0.5 < found.confidence(0.0, 0.3) < 1.0
    assert found.entropy == found.shown == 0.0


def test_the_calibration_error_is_the_one_counted_by_hand():
    p_N = np.repeat([0.2, 0.9], 10)
    right_N = np.array([1.0] * 5 + [0.0] * 5 + [1.0] * 8 + [0.0] * 2)
    assert bins(p_N, right_N) == [(pytest.approx(0.2), 0.5, 10), (pytest.approx(0.9), 0.8, 10)]
    assert ece(p_N, right_N) == pytest.approx(0.5 * 0.3 + 0.5 * 0.1)


def test_bins_hold_equally_many():
    p_N = np.random.default_rng(0).random(200)
    assert [count for _, _, count in bins(p_N, p_N)] == [20] * 10


def test_brier_and_auroc_are_those_of_sklearn_with_ties():
    random = np.random.default_rng(0)
    p_N, right_N = random.integers(0, 8, 50) / 8, random.integers(0, 2, 50).astype(float)
    assert auroc(p_N, right_N) == pytest.approx(metrics.roc_auc_score(right_N, p_N))
    assert brier(p_N, right_N) == pytest.approx(metrics.brier_score_loss(right_N, p_N))
    assert np.isnan(auroc(p_N, np.ones(50)))


def test_intervals_hold_the_figure_and_narrow_with_more_answers(monkeypatch):
    monkeypatch.setattr(calibration, "RESAMPLES", 200)
    widths = []
    for num in (40, 400):
        _, right_N, true_N = sure(num)
        found = quality(true_N, right_N)
        assert found.brier.low <= found.brier.value <= found.brier.high
        assert found.auroc.low <= found.auroc.value <= found.auroc.high
        widths.append(found.auroc.high - found.auroc.low)
    assert widths[1] < widths[0]
