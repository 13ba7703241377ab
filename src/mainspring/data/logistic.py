"""Logistic regression on sparse rows: the one minimum of a convex loss, found by L-BFGS.

    loss = sum over rows of weight * log(1 + exp(-sign * (x w + b)))  +  |w|^2 / (2 C)

Paper: Liu and Nocedal, Mathematical Programming 45 (1989), algorithm 2.1, with backtracking to a sufficient
decrease. The bias is not shrunk. No chance is in it: the same rows give the same weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MEMORY = 10  # pairs of steps and changes of the gradient that are kept
MAX_HALVINGS = 40
SUFFICIENT = 1e-4

Loss = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Sparse rows one after the other: row r has the entries `bounds[r]` to `bounds[r + 1]`.

    buckets, values: shape (E,); bounds: shape (R + 1,); every row has an entry.
    """

    buckets: np.ndarray
    values: np.ndarray
    bounds: np.ndarray
    width: int

    def product(self, weights: np.ndarray) -> np.ndarray:
        """X w, shape (R,)."""
        return np.add.reduceat(weights[self.buckets] * self.values, self.bounds[:-1])

    def transposed(self, rows: np.ndarray) -> np.ndarray:
        """X^T r, shape (width,)."""
        spread = np.repeat(rows, np.diff(self.bounds)) * self.values
        return np.bincount(self.buckets, spread, self.width)


def fit(rows: Rows, signs: np.ndarray, row_weights: np.ndarray, c: float, tolerance: float) -> np.ndarray:
    """Weights and, last, the bias.

    Args:
        rows: R sparse vectors.
        signs: +1 or -1, shape (R,).
        row_weights: how much each row counts, shape (R,).
        c: the inverse of the shrinking; larger fits closer.
        tolerance: stop where no entry of the gradient is larger.

    """

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = point[:-1], point[-1]
        margin = signs * (rows.product(weights) + bias)
        slope = -signs * row_weights * np.exp(-np.logaddexp(0, margin))
        value = row_weights @ np.logaddexp(0, -margin) + weights @ weights / (2 * c)
        return value, np.append(rows.transposed(slope) + weights / c, slope.sum())

    return minimize(loss, np.zeros(rows.width + 1), tolerance)


def minimize(loss: Loss, point: np.ndarray, tolerance: float, max_steps: int = 500) -> np.ndarray:
    """The point where a smooth convex loss is least."""
    value, gradient = loss(point)
    steps: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(max_steps):
        if np.abs(gradient).max() <= tolerance:
            break
        direction = _direction(gradient, steps)
        slope = gradient @ direction
        size = 1.0 if steps else 1 / max(1.0, float(np.abs(gradient).sum()))
        for _ in range(MAX_HALVINGS):
            following, new_gradient = loss(point + size * direction)
            if following <= value + SUFFICIENT * size * slope:
                break
            size /= 2
        else:  # the loss no longer falls at this precision
            break
        steps = [*steps[-MEMORY + 1 :], (size * direction, new_gradient - gradient)]
        point, value, gradient = point + size * direction, following, new_gradient
    return point


def _direction(gradient: np.ndarray, steps: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The inverse of the curvature that the last steps saw, times the gradient downwards (two loops)."""
    direction = -gradient
    factors = []
    for step, change in reversed(steps):
        factor = (step @ direction) / (step @ change)
        factors.append(factor)
        direction = direction - factor * change
    if steps:
        step, change = steps[-1]
        direction = direction * ((step @ change) / (change @ change))
    for (step, change), factor in zip(steps, reversed(factors), strict=True):
        direction = direction + step * (factor - (change @ direction) / (step @ change))
    return direction
