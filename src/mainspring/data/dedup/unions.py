"""Clusters from pairs: what is the same as the same is the same."""

from collections.abc import Iterator

import numpy as np


class Clusters:
    """Union-find over document numbers, many pairs at a time.

    Holds 8 bytes a document, the only thing here that grows with their number. A cluster is known by its
    least number, and links only ever go to a lesser one, so that the result depends on no order.
    """

    def __init__(self, num_documents: int) -> None:
        self._link = np.arange(num_documents)

    def join(self, first: np.ndarray, later: np.ndarray) -> None:
        """Bring the two of every pair into one cluster."""
        one, other = first.astype(np.int64), later.astype(np.int64)
        while len(one):
            one, other = self._roots(one), self._roots(other)
            is_apart = one != other
            one, other = one[is_apart], other[is_apart]
            low, high = np.minimum(one, other), np.maximum(one, other)
            np.minimum.at(
                self._link, high, low
            )  # a root linked twice keeps the least; the next turn joins the rest

    def _roots(self, numbers: np.ndarray) -> np.ndarray:
        roots = self._link[numbers]
        while not np.array_equal(above := self._link[roots], roots):
            roots = above
        self._link[numbers] = roots
        return roots

    def lists(self) -> Iterator[list[int]]:
        """Clusters of two and more, members ascending, in the order of their first members."""
        roots = self._roots(np.arange(len(self._link)))
        later = np.flatnonzero(roots != np.arange(len(roots)))
        later = later[np.argsort(roots[later], kind="stable")]
        begins = np.flatnonzero(np.diff(roots[later], prepend=-1))
        for members in np.split(later, begins[1:]) if len(later) else ():
            yield [int(roots[members[0]]), *members.tolist()]
