"""What a source is, and the order in which one is gone through."""

import random
from dataclasses import dataclass
from typing import Protocol

from mainspring.train.batch import Segment


class Source(Protocol):
    """Segments that can be asked for by index, always the same ones."""

    fingerprint: str
    num_segments: int

    def segment(self, index: int) -> Segment:
        """The segment at an index below `num_segments`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cursor:
    """How far a run has read: `position` segments of pass number `epoch`."""

    epoch: int = 0
    position: int = 0


def order(num_segments: int, seed: int, epoch: int) -> list[int]:
    """Indices in the order of one pass; every pass has its own, and both depend on nothing else."""
    indices = list(range(num_segments))
    random.Random(f"{seed}/{epoch}").shuffle(indices)  # noqa: S311 - an order, not a secret
    return indices
