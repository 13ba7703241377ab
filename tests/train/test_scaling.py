"""The law: fitted constants against scipy's minimum of the paper's formula, and what follows from them."""

import itertools
import math

import numpy as np
import pytest
from scipy.optimize import minimize

from mainspring.errors import UserError
from mainspring.train.scaling import Law, Observation, effective_tokens, fit

TRUTH = Law(e=1.69, a=406.4, b=410.7, alpha=0.34, beta=0.28)


def ladder(noise=0.0, seed=0):
    """Four sizes, each at three lengths."""
    draw = np.random.default_rng(seed)
    pairs = [(n, 2.5e7 * (3e5 / n) ** 0.8 / 3**level) for n in (3e5, 6e5, 1e6, 2e6) for level in range(3)]
    return [
        Observation(parameters=int(n), tokens=d, loss=TRUTH.loss(n, d) * math.exp(noise * draw.normal()))
        for n, d in pairs
    ]


def paper(theta, runs):
    """Eq. 3 of arXiv:2203.15556 as it is written, times 1,000."""
    a, b, e, alpha, beta = theta
    total = 0.0
    for run in runs:
        terms = [a - alpha * math.log(run.parameters), b - beta * math.log(run.tokens), e]
        rest = abs(np.logaddexp.reduce(terms) - math.log(run.loss))
        total += rest**2 / 2 if rest <= 1e-3 else 1e-3 * (rest - 5e-4)
    return total * 1e3


@pytest.mark.slow
def test_the_constants_of_an_exact_ladder_come_back():
    law = fit(ladder()).law
    for name in ("e", "a", "b", "alpha", "beta"):
        assert getattr(law, name) == pytest.approx(getattr(TRUTH, name), rel=1e-6)


@pytest.mark.slow
def test_no_descent_of_lbfgs_comes_lower():
    runs = ladder(noise=0.003)
    law = fit(runs).law
    ours = [math.log(law.a), math.log(law.b), math.log(law.e), law.alpha, law.beta]
    starts = [ours, *itertools.product((5, 10), (5, 10), (0.5,), (0.3, 0.5), (0.3,))]
    options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-12}
    lowest = min(minimize(paper, start, (runs,), "L-BFGS-B", options=options).fun for start in starts)
    assert paper(ours, runs) <= lowest * (1 + 1e-6)


@pytest.mark.slow
def test_runs_five_times_as_large_come_out_within_the_interval():
    size, tokens, inside = 6e6, 6e7, 0
    for seed in range(8):
        low, high = fit(ladder(0.003, seed)).interval(size, tokens)
        found = TRUTH.loss(size, tokens) * math.exp(0.003 * np.random.default_rng(99 - seed).normal())
        inside += low <= found <= high
        assert high / low < 1.3
    assert inside >= 6


def test_the_best_size_for_a_work_is_the_one_that_a_search_finds():
    work = 1e15
    size, tokens = TRUTH.best_for(work)
    assert 6 * size * tokens == pytest.approx(work)
    searched = np.exp(np.linspace(math.log(size / 10), math.log(size * 10), 20_001))
    losses = TRUTH.loss(searched, work / 6 / searched)
    assert searched[np.argmin(losses)] == pytest.approx(size, rel=1e-3)


def test_repeated_text_is_worth_less_the_more_often_it_was_read():
    assert effective_tokens(70, 100) == 70
    assert effective_tokens(400, 100) == pytest.approx(100 + 100 * 15.387756 * (1 - math.exp(-3 / 15.387756)))
    assert 370 < effective_tokens(400, 100) < 400
    assert effective_tokens(10**9, 100) == pytest.approx(100 * 16.387756)


def test_too_few_runs_are_refused():
    with pytest.raises(UserError, match="at least 6"):
        fit(ladder()[:5])


@pytest.mark.slow
def test_runs_that_follow_no_law_are_refused():
    flat = [
        Observation(parameters=each.parameters, tokens=each.tokens, loss=3.0 + each.parameters / 1e7)
        for each in ladder()
    ]
    with pytest.raises(UserError, match="No law can be read"):
        fit(flat)
