"""Token shards: every document is a segment, cut where it is longer than a batch."""

import numpy as np

from mainspring.artifact import fingerprint_of
from mainspring.data.shards import Shards
from mainspring.train.batch import Item, Segment


class ShardSource:
    """The segments of a split of shards, read when they are asked for.

    A segment of more than `max_tokens` becomes several. The first id of each is context alone and is not learnt,
    so a document that is cut k times has k trained ids less.
    """

    def __init__(self, shards: Shards, *, max_tokens: int) -> None:
        self._shards, self._max_tokens = shards, max_tokens
        lengths = shards.lengths(np.arange(shards.num_segments))
        self._ends = np.cumsum(-(-lengths // max_tokens))
        self.num_items = int(self._ends[-1])
        self.fingerprint = fingerprint_of([shards.fingerprint, max_tokens])

    def item(self, index: int) -> Item:
        """The segment at an index below `num_items`."""
        place = int(np.searchsorted(self._ends, index, side="right"))
        piece = index - (int(self._ends[place - 1]) if place else 0)
        found = self._shards.segment(place)
        here = slice(piece * self._max_tokens, (piece + 1) * self._max_tokens)
        name = f"{found.document} from id {here.start:,}" if piece else found.document
        return (Segment(ids=found.ids[here].tolist(), weight=found.weight[here].tolist(), name=name),)
