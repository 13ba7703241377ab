"""Which ids may still be drawn, and their weights: top-k, top-p, min-p and typical, in this order.

The order is that of transformers' warpers; of ids that are equally good the lowest is kept first, so that top-k
keeps exactly k (as llama.cpp does; transformers and vLLM keep all that equal the last).

Shapes: V vocabulary, K ids to draw from.
"""

import numpy as np

from mainspring.schema import Sampling

Floats = np.ndarray[tuple[int], np.dtype[np.float32]]
Ids = np.ndarray[tuple[int], np.dtype[np.int64]]

FAR = np.float32(200.0)
"""exp(-FAR) is 0 in float32, and 0 * FAR is a number, which 0 * inf is not."""

STRIDE = 64


def kept(scores_V: Floats, sampling: Sampling) -> tuple[Ids | None, Floats]:
    """The ids that the filters keep (None: all, in their order) and their weights, which need not sum to 1.

    top_p: the fewest ids whose probability reaches top_p (arXiv:1904.09751). min_p: ids at least min_p times as
    probable as the best (arXiv:2407.01082). typical_p: the fewest ids, those first whose surprise is closest to
    the entropy, whose probability reaches typical_p (arXiv:2202.00666, eq. 11). Each works on what the one before
    has left, as if that were the whole distribution.
    """
    far_V = scores_V.max() - scores_V
    far_V /= np.float32(sampling.temperature)
    ids_K = nearest(far_V, sampling.top_k) if 0 < sampling.top_k < len(far_V) else None
    far_K = far_V if ids_K is None else far_V[ids_K]
    weight_K = np.negative(far_K)
    np.exp(weight_K, out=weight_K)
    if sampling.top_p < 1:
        ids_K, weight_K = _pick(ids_K, weight_K, fewest(far_K, weight_K, sampling.top_p))
    if sampling.min_p > 0:
        ids_K, weight_K = _pick(ids_K, weight_K, np.flatnonzero(weight_K >= np.float32(sampling.min_p)))
    if sampling.typical_p < 1:
        far_K = np.minimum(far_V if ids_K is None else far_V[ids_K], FAR)
        total = float(weight_K.sum(dtype=np.float64))
        gap_K = np.abs(far_K - np.float32((weight_K * far_K).sum(dtype=np.float64) / total))
        ids_K, weight_K = _pick(ids_K, weight_K, fewest(gap_K, weight_K, sampling.typical_p))
    return ids_K, weight_K


def _pick(ids_K: Ids | None, weight_K: Floats, places: Ids) -> tuple[Ids, Floats]:
    return (places if ids_K is None else ids_K[places]), weight_K[places]


def fewest(far_V: Floats, weight_V: Floats, part: float) -> Ids:
    """The fewest places, nearest first, whose weights reach `part` of all weights; at least one.

    A few hundred are sorted first and more only if they do not reach: the same places in the same order as if
    all had been sorted.
    """
    mass = part * float(weight_V.sum(dtype=np.float64))
    size = 256
    while True:
        order_K = nearest(far_V, min(size, len(far_V)))
        cumulative_K = np.cumsum(weight_V[order_K], dtype=np.float64)
        if cumulative_K[-1] >= mass or size >= len(far_V):
            return order_K[: int(np.searchsorted(cumulative_K, mass)) + 1]
        size *= 16


def nearest(far_V: Floats, count: int) -> Ids:
    """The `count` places with the least distance (0 or more, inf allowed), nearest first, lowest first among equals."""
    bound, num_groups = np.float32(np.inf), len(far_V) // STRIDE
    if count <= num_groups:  # as many groups have a least one within the bound, so as many places lie in it
        least = far_V[: num_groups * STRIDE].reshape(STRIDE, num_groups).min(0)
        bound = np.partition(least, count - 1)[count - 1]
    elif count < len(far_V):
        bound = np.partition(far_V, count - 1)[count - 1]
    places_K = np.flatnonzero(far_V <= bound)
    # The bits of floats that are not negative are ordered as the floats are; below them stands the place.
    key_K = (far_V[places_K].view(np.uint32).astype(np.uint64) << np.uint64(32)) | places_K.astype(np.uint64)
    key_K.sort()
    return (key_K[:count] & np.uint64(0xFFFFFFFF)).astype(np.int64)
