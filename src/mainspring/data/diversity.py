"""Documents that cover a whole set, by their vectors.

k-center: each next one is the farthest from all that were chosen, which keeps the largest distance of any
document to its nearest chosen one within twice the best possible (Gonzalez 1985; for active learning Sener and
Savarese, arXiv:1708.00489). Outliers are chosen early, because they are far.

clusters: k-means parts the set, and each cluster in turn gives one. Outliers are chosen rarely, because few
clusters are made of them (as Zhdanov, arXiv:1901.05954, has it).
"""

from collections.abc import Iterator, Sequence

import numpy as np

ROUNDS = 50
BLOCK = 8192  # vectors whose distances to all centers are in memory at once


def k_center(
    vectors_ND: np.ndarray, count: int, centers: Sequence[int] = (), first: int | None = None
) -> list[int]:
    """Indices of `count` vectors, each the farthest from those before it and from `centers`.

    Args:
        vectors_ND: float, shape (N, D).
        count: how many.
        centers: indices that are chosen already and are not given again.
        first: where to begin without any; the vector nearest to the mean of all if None.

    """
    taken = np.zeros(len(vectors_ND), dtype=bool)
    nearest_N = np.full(len(vectors_ND), np.inf)
    for index in centers:
        taken[index] = True
        nearest_N = np.minimum(nearest_N, _distances(vectors_ND, vectors_ND[index]))
    chosen: list[int] = []
    while len(chosen) < min(count, len(vectors_ND) - len(set(centers))):
        if not taken.any():
            mean_D = vectors_ND.mean(axis=0)
            index = int(_distances(vectors_ND, mean_D).argmin()) if first is None else first
        else:
            index = int(np.where(taken, -1.0, nearest_N).argmax())
        chosen.append(index)
        taken[index] = True
        nearest_N = np.minimum(nearest_N, _distances(vectors_ND, vectors_ND[index]))
    return chosen


def clusters_of(vectors_ND: np.ndarray, num_clusters: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of every vector, int64, shape (N,), and its squared distance to the cluster's center.

    k-means (Lloyd 1982) from centers that k-means++ draws (Arthur and Vassilvitskii 2007).
    """
    centers_KD = _draw_centers(vectors_ND, num_clusters, np.random.default_rng(seed))
    cluster_N, distance_N = _nearest(vectors_ND, centers_KD)
    for _ in range(ROUNDS):
        for cluster in np.unique(cluster_N):
            centers_KD[cluster] = vectors_ND[cluster_N == cluster].mean(axis=0)
        before_N = cluster_N
        cluster_N, distance_N = _nearest(vectors_ND, centers_KD)
        if (cluster_N == before_N).all():
            break
    return cluster_N, distance_N


def in_turn(cluster_N: np.ndarray, worth_N: np.ndarray, count: int) -> list[int]:
    """Indices of `count` documents, the most worth of each cluster first, then the next of each.

    Clusters take turns in the order of their best; one that is used up is passed over.
    """
    order = np.argsort(-worth_N, kind="stable")
    members: dict[int, Iterator[int]] = {
        int(cluster): iter(order[cluster_N[order] == cluster].tolist())
        for cluster in dict.fromkeys(cluster_N[order].tolist())
    }
    chosen: list[int] = []
    while members and len(chosen) < count:
        for cluster in list(members):
            index = next(members[cluster], None)
            if index is None:
                del members[cluster]
            elif len(chosen) < count:
                chosen.append(index)
    return chosen


def _distances(vectors_ND: np.ndarray, center_D: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances, shape (N,)."""
    parts = (vectors_ND[start : start + BLOCK] - center_D for start in range(0, len(vectors_ND), BLOCK))
    return np.concatenate([(part**2).sum(axis=1) for part in parts])


def _nearest(vectors_ND: np.ndarray, centers_KD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    squares_K = (centers_KD**2).sum(axis=1)
    found_N, distance_N = np.empty(len(vectors_ND), np.int64), np.empty(len(vectors_ND))
    for start in range(0, len(vectors_ND), BLOCK):
        part_BD = vectors_ND[start : start + BLOCK]
        distances_BK = squares_K - 2 * part_BD @ centers_KD.T
        here = slice(start, start + len(part_BD))
        found_N[here] = distances_BK.argmin(axis=1)
        distance_N[here] = np.maximum(distances_BK.min(axis=1) + (part_BD**2).sum(axis=1), 0)
    return found_N, distance_N


def _draw_centers(vectors_ND: np.ndarray, num_clusters: int, chance: np.random.Generator) -> np.ndarray:
    """Each next center is drawn with a chance that grows with the squared distance to those before it."""
    chosen = [int(chance.integers(len(vectors_ND)))]
    nearest_N = _distances(vectors_ND, vectors_ND[chosen[0]])
    while len(chosen) < num_clusters and nearest_N.sum() > 0:
        index = int(np.searchsorted(np.cumsum(nearest_N), chance.random() * nearest_N.sum(), side="right"))
        chosen.append(min(index, len(vectors_ND) - 1))
        nearest_N = np.minimum(nearest_N, _distances(vectors_ND, vectors_ND[chosen[-1]]))
    return vectors_ND[chosen].astype(np.float64)
