"""What a source is, and the order in which one is gone through."""

import random
from typing import Protocol

from mainspring.train.batch import Item


class Source(Protocol):
    """Items that can be asked for by index, always the same ones."""

    fingerprint: str
    num_items: int

    def item(self, index: int) -> Item:
        """The item at an index below `num_items`."""
        ...


def order(num_items: int, seed: int, epoch: int) -> list[int]:
    """Indices in the order of one pass; every pass has its own, and both depend on nothing else."""
    indices = list(range(num_items))
    random.Random(f"{seed}/{epoch}").shuffle(indices)  # noqa: S311 - an order, not a secret
    return indices
