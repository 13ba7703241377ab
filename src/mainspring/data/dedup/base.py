"""What all kinds of sameness leave: clusters of document numbers.

Documents are numbered from 0 in the order of the sources. A kind of sameness signs every document on its own
(in parallel, in the workers) and then finds clusters over all signatures (once, with bounded memory):

    text -> sign -> a row of fixed width -> files of rows -> clusters -> [[3, 17, 40], ...]

The first document of a cluster is kept, the others are dropped for its sake.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np


class Sameness(Protocol):
    """One kind: exact, near."""

    name: str
    width: int
    """Columns of a signature, uint64."""

    def sign(self, texts: Sequence[str]) -> np.ndarray:
        """Signatures, uint64, shape (len(texts), width)."""
        ...

    def clusters(self, signatures: Iterable[tuple[int, np.ndarray]], scratch: Path) -> Iterator[list[int]]:
        """Numbers of documents that are the same, ascending; clusters of one are left out.

        `signatures` gives (number of the first document, rows of those that follow) in order. What does not
        fit into memory lies in `scratch`.
        """
        ...
