import numpy as np
import pytest

from mainspring.data.logistic import Rows, fit, minimize


@pytest.mark.parametrize("c", [0.1, 10.0])
def test_the_weights_are_those_that_scikit_learn_finds(c):
    linear_model = pytest.importorskip(
        "sklearn.linear_model", reason="scikit-learn is the oracle and is not installed"
    )
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(80, 12)) * (rng.random((80, 12)) < 0.4)
    dense[:, 0] = 1.0
    signs = np.where(dense @ rng.normal(size=12) + rng.normal(size=80) > 0, 1.0, -1.0)
    row_weights = rng.random(80) + 0.5
    entries = [np.flatnonzero(row) for row in dense]
    rows = Rows(
        buckets=np.concatenate(entries), values=dense[dense != 0],
        bounds=np.cumsum([0, *map(len, entries)]), width=12,
    )  # fmt: skip
    point = fit(rows, signs, row_weights, c, 1e-9)
    theirs = linear_model.LogisticRegression(C=c, tol=1e-12, max_iter=10_000).fit(dense, signs, row_weights)
    np.testing.assert_allclose(point[:-1], theirs.coef_[0], atol=1e-5)
    np.testing.assert_allclose(point[-1], theirs.intercept_[0], atol=1e-5)


def test_the_least_of_a_badly_scaled_bowl_is_found():
    scales = np.array([1.0, 100.0, 10_000.0])
    target = np.array([3.0, -2.0, 1.0])
    found = minimize(lambda x: (scales @ (x - target) ** 2, 2 * scales * (x - target)), np.zeros(3), 1e-8)
    np.testing.assert_allclose(found, target, atol=1e-8)
