"""Whether one system is better than another on the same questions, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mainspring.errors import UserError

MIN_ITEMS = 40
RESAMPLES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`p_value` is the chance of such a lead, or a greater one, if there were none; the interval holds 95 %."""

    before: float
    after: float
    difference: float
    low: float
    high: float
    p_value: float
    num_items: int


def paired_bootstrap(before: Sequence[float], after: Sequence[float], *, seed: int = 0) -> Comparison:
    """One-sided paired bootstrap of the mean difference, after minus before.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, section 16.4: the differences are shifted
    to mean zero, which is what "no lead" means, and resampled with replacement.

    Raises:
        UserError: fewer than 40 items, or lists of different lengths.

    """
    if len(before) != len(after):
        raise UserError(f"{len(before)} scores were given before and {len(after)} after; pairs need as many.")
    if len(before) < MIN_ITEMS:
        raise UserError(
            f"{len(before)} items were given; a comparison needs at least {MIN_ITEMS}. Add questions."
        )
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    observed = float(differences.mean())
    picks = np.random.default_rng(seed).integers(0, len(differences), (RESAMPLES, len(differences)))
    means = differences[picks].mean(axis=1)
    as_far = int((means - observed >= observed).sum())
    low, high = np.quantile(means, (0.025, 0.975))
    return Comparison(
        before=float(np.mean(before)), after=float(np.mean(after)), difference=observed, low=float(low),
        high=float(high), p_value=(as_far + 1) / (RESAMPLES + 1), num_items=len(differences),
    )  # fmt: skip
