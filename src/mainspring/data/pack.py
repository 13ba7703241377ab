"""Which segments share a row: best-fit decreasing, as it reads, in the time that sorting takes.

    lengths 700 300 200 650 100, rows of 1,000   ->   700 300 | 650 200 100

No token is left out: what is longer than a row is cut before, by `cut`.
"""

import heapq
from collections.abc import Sequence

BLOCK_BITS = 10


def best_fit(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices by row: the longest first, each into the fullest row that still has room for it.

    Among rows that are equally full it is the first one; equally long segments go in their own order. Takes
    O(n log n) for n segments. No length may be above `max_tokens`.
    """
    rows: list[list[int]] = []
    rooms = _Rooms(max_tokens)
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        length = lengths[index]
        assert length <= max_tokens, "cut it first"
        room, row = rooms.take(length) or (max_tokens, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(index)
        rooms.give(room - length, row)
    return [sorted(row) for row in rows]


def cut(length: int, max_tokens: int) -> list[tuple[int, int]]:
    """(start, length) of the pieces of a segment, each as long as a row but the last."""
    return [(start, min(max_tokens, length - start)) for start in range(0, length, max_tokens)]


class _Rooms:
    """Rows by the room that is left in them.

    Which amounts of room there are is kept in bit sets of two levels, so that the smallest that is large enough
    is found by looking at two of them; rows of the same room lie in a heap.
    """

    def __init__(self, max_room: int) -> None:
        self._rows: dict[int, list[int]] = {}
        self._blocks = [0] * ((max_room >> BLOCK_BITS) + 1)
        self._filled = 0

    def give(self, room: int, row: int) -> None:
        heap = self._rows.setdefault(room, [])
        if not heap:
            block = room >> BLOCK_BITS
            self._blocks[block] |= 1 << (room & (2**BLOCK_BITS - 1))
            self._filled |= 1 << block
        heapq.heappush(heap, row)

    def take(self, length: int) -> tuple[int, int] | None:
        """Remove the first of the rows with the least room of at least `length`; its room and number."""
        room = self._smallest(length)
        if room is None:
            return None
        heap = self._rows[room]
        row = heapq.heappop(heap)
        if not heap:
            block = room >> BLOCK_BITS
            self._blocks[block] &= ~(1 << (room & (2**BLOCK_BITS - 1)))
            if not self._blocks[block]:
                self._filled &= ~(1 << block)
        return room, row

    def _smallest(self, length: int) -> int | None:
        block, within = length >> BLOCK_BITS, length & (2**BLOCK_BITS - 1)
        here = self._blocks[block] >> within
        if here:
            return length + _lowest(here)
        later = self._filled >> (block + 1)
        if not later:
            return None
        block += 1 + _lowest(later)
        return (block << BLOCK_BITS) + _lowest(self._blocks[block])


def _lowest(bits: int) -> int:
    return (bits & -bits).bit_length() - 1
