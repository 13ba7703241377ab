"""Exact search by cosine: one matrix product over all vectors of one version, a cache of the store."""

import numpy as np


class FlatIndex:
    """Unit vectors, one a row, float32, shape (rows, width)."""

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = np.ascontiguousarray(vectors, dtype=np.float32)

    def scores(self, queries: np.ndarray) -> np.ndarray:
        """Cosines of unit queries, shape (queries, width), with every row: float32, shape (queries, rows)."""
        if not len(self._vectors):
            return np.zeros((len(queries), 0), np.float32)
        return np.asarray(queries, dtype=np.float32) @ self._vectors.T
