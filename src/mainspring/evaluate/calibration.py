"""From how sure a model was of its words to the chance that its answer is right, and how well that is met.

Shapes: N answers, F features (FEATURES).
"""

import itertools
import math
from collections.abc import Callable

import msgspec
import numpy as np

Measure = Callable[[np.ndarray, np.ndarray], float]
L2 = 1.0
STEPS = 50
NUM_BINS = 10
RESAMPLES = 2_000
FEATURES = {"logprob": 1.0, "entropy": -1.0, "shown": 1.0}
"""Which way each may move the confidence: more log-probability never lowers it, more entropy never raises it."""


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """confidence = sigmoid(bias + logprob * mean log-probability + entropy * mean entropy + shown), in nats.

    `shown` is added for an answer whose sentences had support and were shown.
    """

    bias: float
    logprob: float
    entropy: float
    shown: float

    def confidence(self, logprob: float, entropy: float, shown: float = 1.0) -> float:
        """The chance of being right, 0 to 1."""
        score = self.bias + self.logprob * logprob + self.entropy * entropy + self.shown * shown
        return 0.5 * (1.0 + math.tanh(0.5 * score))


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with its 95 % interval over resampled answers."""

    value: float
    low: float
    high: float


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How well confidences meet what was right; lower is better for `ece` and `brier`, higher for `auroc`."""

    ece: Figure
    brier: Figure
    auroc: Figure


def fit(x_NF: np.ndarray, right_N: np.ndarray) -> Fit:
    """Logistic regression of being right on FEATURES, each with the sign that it must have.

    Source: Platt, Probabilistic Outputs for Support Vector Machines (1999), with an L2 penalty on the weights of
    standardized features instead of his smoothed labels, so that few answers do not break it. The loss is convex,
    so the best weights with the right signs are the best ones of some subset of the features, the others zero.

    Args:
        x_NF: mean log-probability and mean entropy of each answer, and 1 where it was shown, else 0.
        right_N: 1 for a right answer, else 0; both must occur.

    """
    mean_F, scale_F = x_NF.mean(0), x_NF.std(0)
    scale_F[scale_F < 1e-9] = 1.0  # a feature that never changes says nothing
    z_NF = (x_NF - mean_F) / scale_F
    best_loss, best_w = np.inf, np.zeros(1 + len(FEATURES))
    for kept in itertools.product((True, False), repeat=len(FEATURES)):
        w, loss = _newton(z_NF * np.array(kept), right_N)
        if loss < best_loss and all(
            sign * each >= 0 for sign, each in zip(FEATURES.values(), w[1:], strict=True)
        ):
            best_loss, best_w = loss, w
    weight_F = best_w[1:] / scale_F
    bias = best_w[0] - weight_F @ mean_F
    return Fit(bias=float(bias), **dict(zip(FEATURES, weight_F.tolist(), strict=True)))


def quality(p_N: np.ndarray, right_N: np.ndarray, *, seed: int = 0) -> Quality:
    """Calibration error, Brier score and AUROC of confidences, with percentile bootstrap intervals.

    Those of the calibration error lie too high with few answers: resampling repeats some, which widens every gap.
    """
    picks = np.random.default_rng(seed).integers(0, len(p_N), (RESAMPLES, len(p_N)))
    measures = {"ece": ece, "brier": brier, "auroc": auroc}
    return Quality(**{name: _figure(measure, p_N, right_N, picks) for name, measure in measures.items()})


def ece(p_N: np.ndarray, right_N: np.ndarray) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy, weighted by a bin's answers.

    Paper: arXiv:1706.04599, eq. 3; with 10 bins of equally many answers instead of equal width.
    """
    return sum(count * abs(p - share) for p, share, count in bins(p_N, right_N)) / len(p_N)


def bins(p_N: np.ndarray, right_N: np.ndarray) -> list[tuple[float, float, int]]:
    """Mean confidence, share of right answers and number of answers, by rank; equal confidences stay together."""
    rank_N = np.searchsorted(np.sort(p_N), p_N)
    bin_N = rank_N * NUM_BINS // len(p_N)
    groups = [bin_N == number for number in np.unique(bin_N)]
    return [(float(p_N[of].mean()), float(right_N[of].mean()), int(of.sum())) for of in groups]


def brier(p_N: np.ndarray, right_N: np.ndarray) -> float:
    """Mean squared difference (Brier, Monthly Weather Review 78, 1950)."""
    return float(np.mean((p_N - right_N) ** 2))


def auroc(p_N: np.ndarray, right_N: np.ndarray) -> float:
    """Chance that a right answer has a higher confidence than a wrong one, equal ones count half.

    Source: Hanley and McNeil, Radiology 143 (1982): the Mann-Whitney statistic. Without both kinds it is no number.
    """
    good, bad = p_N[right_N == 1], p_N[right_N == 0]
    if not len(good) or not len(bad):
        return float("nan")
    return float(np.mean((good[:, None] > bad) + 0.5 * (good[:, None] == bad)))


def _newton(z_NF: np.ndarray, right_N: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights (bias first) with the least loss, and that loss: Newton's method with halved steps."""
    a = np.column_stack([np.ones(len(z_NF)), z_NF])
    penalty = L2 * np.array([0.0, *np.ones(z_NF.shape[1])])

    def loss_of(w: np.ndarray) -> float:
        score = a @ w
        return float((np.logaddexp(0.0, score) - right_N * score).sum() + 0.5 * penalty @ w**2)

    w = np.zeros(len(penalty))
    for _ in range(STEPS):
        p = _sigmoid(a @ w)
        slope = a.T @ (p - right_N) + penalty * w
        if np.abs(slope).max() < 1e-10:
            break
        step = np.linalg.solve((a.T * (p * (1.0 - p))) @ a + np.diag(penalty), slope)
        size = next((half for half in 0.5 ** np.arange(30) if loss_of(w - half * step) <= loss_of(w)), 0.0)
        w = w - size * step
    return w, loss_of(w)


def _figure(measure: Measure, p_N: np.ndarray, right_N: np.ndarray, picks: np.ndarray) -> Figure:
    values = np.array([measure(p_N[each], right_N[each]) for each in picks])
    low, high = np.nanquantile(values, (0.025, 0.975))
    return Figure(value=measure(p_N, right_N), low=float(low), high=float(high))


def _sigmoid(score: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * score))
