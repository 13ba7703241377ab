"""How unsure a model is of a document, higher is less sure.

    entropy            -sum p log p, in nats
    margin             1 - (largest p - second largest p)
    least_confidence   1 - largest p
    nll                what the model lost on the document, where no probabilities are told

Survey: Settles, "Active Learning Literature Survey", 2009, section 3.1.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

Measure = Literal["entropy", "margin", "least_confidence"]


def uncertainty(probabilities: Sequence[float] | np.ndarray, measure: Measure) -> float:
    """Uncertainty of one prediction; probabilities, shape (labels,), add up to 1."""
    p = np.asarray(probabilities, dtype=np.float64)
    if measure == "entropy":
        return float(-(p * np.log(np.where(p > 0, p, 1.0))).sum())
    ordered = np.sort(p)[::-1]
    if measure == "margin":
        return float(1 - (ordered[0] - (ordered[1] if len(ordered) > 1 else 0.0)))
    return float(1 - ordered[0])
