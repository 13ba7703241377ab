"""Rows that are closed to the last token, for segments of much the same length.

Best-fit puts long ones with long ones: four of 240 ids in a row of 1,024 leave 64 that nothing short enough is
left for. Here a row begins with the longest segment, goes on in the order of the segments, and is closed by the
one or two that fill what is left best.

Paper: Gupta and Ho, "A new heuristic algorithm for the one-dimensional bin-packing problem", 1999, which looks for
the set of segments that leaves least; sets of two are enough where there are thousands to choose from.
"""

from collections.abc import Sequence

import numpy as np

from mainspring.data.pack import best_fit

CLOSE_AT = 3  # a row is closed once it has room for so many segments of mean length, or fewer


def fewest_rows(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices by row, of best-fit or of closed rows, whichever takes fewer; of best-fit if both take as many."""
    rows = best_fit(lengths, max_tokens)
    if len(rows) * max_tokens < sum(lengths) + max_tokens:  # no packing has fewer
        return rows
    return min(rows, close_rows(lengths, max_tokens), key=len)


def close_rows(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices by row. Takes O(n d) for n segments of d different lengths. No length may be above `max_tokens`."""
    pool = _Pool(lengths, max_tokens)
    rows: list[list[int]] = []
    while pool.num_left:
        row = [pool.take_longest()]
        room = max_tokens - lengths[row[0]]
        while taken := pool.take(room):
            row += taken
            room -= sum(lengths[index] for index in taken)
        rows.append(sorted(row))
    return rows


class _Pool:
    """Segments that lie in no row yet."""

    def __init__(self, lengths: Sequence[int], max_tokens: int) -> None:
        self._lengths = lengths
        self._counts = np.bincount(np.asarray(lengths, dtype=np.int64), minlength=max_tokens + 1)
        self._by_length: dict[int, list[int]] = {}
        for index in reversed(range(len(lengths))):
            self._by_length.setdefault(lengths[index], []).append(index)
        self._is_left = [True] * len(lengths)
        self._longest = iter(sorted(range(len(lengths)), key=lambda index: -lengths[index]))
        self._first = 0
        self.num_left, self._tokens_left = len(lengths), sum(lengths)

    def take_longest(self) -> int:
        return self._remove(next(index for index in self._longest if self._is_left[index]))

    def take(self, room: int) -> list[int]:
        """The next segment of a row with much room, the closing ones of another; none if none fits."""
        if not self.num_left:
            return []
        if room * self.num_left > CLOSE_AT * self._tokens_left:
            while not self._is_left[self._first]:
                self._first += 1
            if self._lengths[self._first] <= room:
                return [self._remove(self._first)]
        return [self._remove(self._one_of(length)) for length in self._closing(room)]

    def _closing(self, room: int) -> tuple[int, ...]:
        """The one or two lengths that leave least of the room, one if that leaves no more."""
        there = np.flatnonzero(self._counts[: room + 1])
        if not len(there):
            return ()
        places = np.searchsorted(there, room - there, side="right") - 1
        partners = there[places]
        is_pair = (places >= 0) & ((partners != there) | (self._counts[there] > 1))
        sums = np.where(is_pair, there + partners, 0)
        best = len(sums) - 1 - int(np.argmax(sums[::-1]))
        if sums[best] > there[-1]:
            return int(there[best]), int(partners[best])
        return (int(there[-1]),)

    def _one_of(self, length: int) -> int:
        """The first segment of a length."""
        indices = self._by_length[length]
        while not self._is_left[indices[-1]]:
            indices.pop()
        return indices[-1]

    def _remove(self, index: int) -> int:
        length = self._lengths[index]
        self._is_left[index] = False
        self._counts[length] -= 1
        self.num_left -= 1
        self._tokens_left -= length
        return index
