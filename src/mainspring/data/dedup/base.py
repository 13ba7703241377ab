"""What all kinds of sameness leave: clusters of document numbers.

Documents are numbered from 0 in the order of the sources. A kind of sameness signs every document on its own
(in parallel, in the workers) and then finds clusters over all signatures (once, with bounded memory):

    text -> sign -> a row of fixed width -> files of rows -> clusters -> [[3, 17, 40], ...]

The first document of a cluster is kept, the others are dropped for its sake.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np

from mainspring.data.dedup.groups import equal_pairs
from mainspring.data.dedup.unions import Clusters


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


def join_equal(
    signed: Iterable[tuple[int, np.ndarray, np.ndarray]], bands: Sequence[tuple[int, int]], scratch: Path,
    memory_bytes: int,
) -> Iterator[list[int]]:  # fmt: skip
    """Clusters of the documents that agree in all columns of any band.

    Args:
        signed: (number of the first document, its signature and those that follow, which of them count).
        bands: first column of a band and the one behind its last.
        scratch: where the bands are written, one file each, and removed again.
        memory_bytes: about what finding equal rows may take; beside it stand 8 bytes a document.

    """
    scratch.mkdir(parents=True, exist_ok=True)
    paths = [scratch / f"band-{number}.rows" for number in range(len(bands))]
    num_documents = _write_bands(signed, bands, paths)
    clusters = Clusters(num_documents)
    for path, (start, end) in zip(paths, bands, strict=True):
        for first, later in equal_pairs(path, end - start + 1, memory_bytes):
            clusters.join(first, later)
        path.unlink()
    yield from clusters.lists()


def _write_bands(
    signed: Iterable[tuple[int, np.ndarray, np.ndarray]],
    bands: Sequence[tuple[int, int]],
    paths: Sequence[Path],
) -> int:
    num_documents = 0
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for first, rows, counts in signed:
            numbers = np.arange(first, first + len(rows), dtype=np.uint64)[counts]
            for file, (start, end) in zip(files, bands, strict=True):
                np.column_stack([rows[counts, start:end], numbers]).tofile(file)
            num_documents = max(num_documents, first + len(rows))
    return num_documents
