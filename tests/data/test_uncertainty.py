import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.uncertainty import uncertainty

WEIGHTS = st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda weights: sum(weights) > 1e-3)


def formulas(p):
    first, *others = sorted(p, reverse=True)
    return {
        "entropy": -sum(each * math.log(each) for each in p if each > 0),
        "margin": 1 - (first - (others[0] if others else 0)),
        "least_confidence": 1 - first,
    }


@given(WEIGHTS)
def test_each_measure_is_its_formula(weights):
    p = [each / sum(weights) for each in weights]
    for measure, wanted in formulas(p).items():
        assert uncertainty(p, measure) == pytest.approx(wanted, abs=1e-9)


def test_entropy_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for p in np.random.default_rng(0).dirichlet(np.ones(5), 20):
        assert uncertainty(p, "entropy") == pytest.approx(float(stats.entropy(p)))


@pytest.mark.parametrize("measure", ["entropy", "margin", "least_confidence"])
def test_an_even_guess_is_less_sure_than_a_leaning_one_and_that_than_certainty(measure):
    even, leaning, sure = (uncertainty(p, measure) for p in ([0.5, 0.5], [0.8, 0.2], [1.0, 0.0]))
    assert even > leaning > sure
    assert sure == pytest.approx(0)
