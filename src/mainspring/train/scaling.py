"""How the loss falls with the size of a model and with what it reads: fitted to small runs, held to larger ones.

    L(N, D) = E + A / N^alpha + B / D^beta        N parameters, D tokens, L nats a token on held-out text

Paper: arXiv:2203.15556, approach 3 (eq. 3): Huber loss (delta 1e-3) of the log of the loss, from a grid of starting
points. Changed: all starting points go down at once by damped Gauss-Newton steps on reweighted squares, in place
of L-BFGS one by one; both end in the same minimum. Text that is read again counts less: arXiv:2305.16264, eq. 5.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mainspring.errors import UserError

DELTA = 1e-3
NUM_CONSTANTS = 5
MIN_OBSERVATIONS = NUM_CONSTANTS + 1
GRID = {  # the paper's starting points: log A, log B, log E, alpha, beta
    "log_a": (0, 5, 10, 15, 20, 25), "log_b": (0, 5, 10, 15, 20, 25), "log_e": (-1, -0.5, 0, 0.5, 1),
    "alpha": (0, 0.5, 1, 1.5, 2), "beta": (0, 0.5, 1, 1.5, 2),
}  # fmt: skip
MAX_EXPONENT = 2  # the end of the paper's grid; what lies behind it fits scatter, not a law
STARTS = 200  # of the grid's, those with the lowest loss, that go down
ITERATIONS = 400
ENOUGH, PATIENCE = 1e-6, 12  # a part of the loss by which no start has fallen in so many steps: the end
DRAWS = 100  # refits to losses drawn again, for intervals
REPEATED_WORTH = (
    15.387756  # passes after which repeating a text has given most of what it can: R*_D of the paper
)
MAX_PASSES = 4  # up to here a repeated token is nearly worth a new one


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A run: `tokens` are those it is worth, repeated ones discounted; `loss` in nats a held-out token."""

    parameters: int
    tokens: float
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """The constants of L(N, D) = e + a / N^alpha + b / D^beta."""

    e: float
    a: float
    b: float
    alpha: float
    beta: float

    def loss(self, parameters: float, tokens: float) -> float:
        """Nats a token that a model of that size ends with after that many tokens."""
        return self.e + self.a / parameters**self.alpha + self.b / tokens**self.beta

    def best_for(self, work: float) -> tuple[float, float]:
        """(parameters, tokens) of the lowest loss for so many operations, 6 a parameter and token (eq. 4)."""
        ratio = (self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta))
        parameters = ratio * (work / 6) ** (self.beta / (self.alpha + self.beta))
        return parameters, work / 6 / parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A law with what is not known of it.

    draws: constants of refits, log A, log B, log E, alpha, beta. residuals: logs of the runs' losses less the law's, as
    wide as those of new runs are.
    """

    law: Law
    draws: Sequence[Sequence[float]]
    residuals: Sequence[float]

    def interval(self, parameters: float, tokens: float, *, share: float = 0.95) -> tuple[float, float]:
        """Between what a new run's loss should lie, in nats: the law's doubt and the runs' own scatter together."""
        log_n, log_d = np.log([float(parameters)]), np.log([float(tokens)])
        logs = _log_loss(np.asarray(self.draws), log_n, log_d)[:, 0]
        scatter = np.random.default_rng(1).choice(np.asarray(self.residuals), len(logs))
        low, high = np.quantile(logs + scatter, [(1 - share) / 2, (1 + share) / 2])
        return float(np.exp(low)), float(np.exp(high))


def effective_tokens(tokens: float, unique: float) -> float:
    """What reading `tokens` of a text of `unique` ones is worth in new tokens."""
    if tokens <= unique:
        return float(tokens)
    repeats = tokens / unique - 1
    return float(unique * (1 + REPEATED_WORTH * (1 - np.exp(-repeats / REPEATED_WORTH))))


def fit(observations: Sequence[Observation]) -> Fit:
    """The law of some runs.

    Raises:
        UserError: too few runs, or runs in which the loss does not fall with size and tokens.

    """
    if len(observations) < MIN_OBSERVATIONS:
        raise UserError(
            f"{len(observations)} runs cannot settle the {NUM_CONSTANTS} constants of the law; at least "
            f"{MIN_OBSERVATIONS} are needed, of several sizes and lengths."
        )
    log_n = np.log([float(each.parameters) for each in observations])
    log_d = np.log([float(each.tokens) for each in observations])
    log_l = np.log([each.loss for each in observations])
    starts = np.array(list(itertools.product(*GRID.values())), dtype=float)
    lowest = np.argsort(_objective(starts, log_n, log_d, log_l[None]))[:STARTS]
    ends = _descend(starts[lowest], log_n, log_d, log_l[None])
    best = ends[np.argmin(_objective(ends, log_n, log_d, log_l[None]))]
    law = _law(best)
    if not 0 < min(law.alpha, law.beta) <= max(law.alpha, law.beta) <= MAX_EXPONENT:
        raise UserError(
            f"No law can be read from these runs: alpha is {law.alpha:.2f} and beta {law.beta:.2f}, and both should be "
            f"above 0 and at most {MAX_EXPONENT}. Give the ladder more time or more text, so that its runs differ by "
            "more than their scatter."
        )
    values = _log_loss(best[None], log_n, log_d)[0]
    widened = (log_l - values) * _widening(len(log_l))
    drawn = np.random.default_rng(0).choice(widened, (DRAWS, len(log_l)))
    draws = _descend(np.repeat(best[None], DRAWS, 0), log_n, log_d, values + drawn)
    return Fit(law=law, draws=draws.tolist(), residuals=widened.tolist())


def _widening(count: int) -> float:
    """How much wider new runs scatter than the residuals of a fit: constants take from these, and few tell little
    (about what Student's distribution adds to the normal one at 95 %).
    """
    free = count - NUM_CONSTANTS
    return math.sqrt(count / free) * (1 + 1.5 / free)


def _law(theta: np.ndarray) -> Law:
    log_a, log_b, log_e, alpha, beta = (float(each) for each in theta)
    return Law(e=math.exp(log_e), a=math.exp(log_a), b=math.exp(log_b), alpha=alpha, beta=beta)


def _terms(theta: np.ndarray, log_n: np.ndarray, log_d: np.ndarray) -> np.ndarray:
    """Logs of A / N^alpha, B / D^beta and E: theta (S, 5), log_n and log_d (n,) -> (3, S, n)."""
    log_a, log_b, log_e, alpha, beta = (theta[:, at, None] for at in range(NUM_CONSTANTS))
    return np.stack([log_a - alpha * log_n, log_b - beta * log_d, log_e + 0 * log_n])


def _log_loss(theta: np.ndarray, log_n: np.ndarray, log_d: np.ndarray) -> np.ndarray:
    """Log L, shape (S, n)."""
    return np.logaddexp.reduce(_terms(theta, log_n, log_d))


def _slopes(theta: np.ndarray, log_n: np.ndarray, log_d: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Derivatives of log L by the constants, shape (S, n, 5)."""
    of_n, of_d, of_e = np.exp(_terms(theta, log_n, log_d) - value)
    return np.stack([of_n, of_d, of_e, -of_n * log_n, -of_d * log_d], -1)


def _objective(theta: np.ndarray, log_n: np.ndarray, log_d: np.ndarray, log_l: np.ndarray) -> np.ndarray:
    """Sum of the Huber losses, (S,); log_l is (1, n) or (S, n)."""
    size = np.abs(_log_loss(theta, log_n, log_d) - log_l)
    return np.where(size <= DELTA, size**2 / 2, DELTA * (size - DELTA / 2)).sum(-1)


def _descend(theta: np.ndarray, log_n: np.ndarray, log_d: np.ndarray, log_l: np.ndarray) -> np.ndarray:
    """Every start's own minimum: a step that does not lower the loss is taken back and damped more."""
    damping = np.full(len(theta), 1e-2)
    now = _objective(theta, log_n, log_d, log_l)
    idle = 0
    for _ in range(ITERATIONS):
        value = _log_loss(theta, log_n, log_d)
        slope = _slopes(theta, log_n, log_d, value)
        rest = value - log_l
        weight = DELTA / np.maximum(np.abs(rest), DELTA)
        weighted = slope * weight[..., None]
        normal = np.einsum("snp,snq->spq", weighted, slope)
        pull = np.einsum("snp,sn->sp", weighted, rest)
        most = normal.diagonal(axis1=1, axis2=2).max(-1)
        damped = normal + (damping * most + 1e-12)[:, None, None] * np.eye(NUM_CONSTANTS)
        tried = theta - np.linalg.solve(damped, pull[..., None])[..., 0]
        after = _objective(tried, log_n, log_d, log_l)
        is_better = after < now
        idle = 0 if np.any(now - after > ENOUGH * now) else idle + 1
        theta, now = np.where(is_better[:, None], tried, theta), np.where(is_better, after, now)
        damping = np.clip(np.where(is_better, damping / 3, damping * 4), 1e-12, 1e6)
        if idle == PATIENCE:
            break
    return theta
