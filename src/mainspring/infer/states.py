"""States in the paged cache, and in which order tokens go through the layers that have them.

Every block has room for the state that its last computed token left. So a sequence finds the state that it goes on
from in its newest block, a full block keeps what the next one begins with, and prefixes, copies and preemptions are
those of the blocks (snapshots at block borders; arXiv:2411.19379 instead keeps few of them and asks which).

Shapes: R rows of a round (B sequences of L tokens).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from mainspring.infer.blocks import SCRATCH
from mainspring.infer.kernels import STATE_ROWS
from mainspring.infer.scheduler import Work
from mainspring.models.attend import State


class StateCache:
    """The states of one layer. The scratch block's are never written: a sequence begins with zeros."""

    def __init__(self, num_blocks: int) -> None:
        self._num_blocks = num_blocks
        self._held: State | None = None

    def read(self, blocks: list[int]) -> State | None:
        """States behind these blocks; None while nobody has any."""
        if self._held is None:
            return None
        at = slice(blocks[0], blocks[0] + 1) if len(blocks) == 1 else blocks  # one is not copied
        return tuple(each[at] for each in self._held)

    def keep(self, blocks: list[int], state: State) -> None:
        if self._held is None:  # their shapes are the mixer's to know
            self._held = tuple(each.new_zeros(self._num_blocks, *each.shape[1:]) for each in state)
        for held, each in zip(self._held, state, strict=True):
            for block, state_X in zip(blocks, each, strict=True):
                held[block].copy_(state_X)

    def copy(self, source: int, target: int) -> None:
        for each in self._held or ():
            each[target] = each[source]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Tokens that go through the states side by side: `length` of each of B sequences, at `rows_R` of the step.

    before: the blocks with the states that they go on from. after: those that they leave theirs in.
    """

    rows_R: torch.Tensor
    length: int
    before: list[int]
    after: list[int]


@dataclass(slots=True)
class _Place:
    """How far a work has come: its next row of the step and position of its sequence, and how many are left."""

    work: Work
    row: int
    position: int
    left: int


def rounds(works: Sequence[Work], block_size: int, chunk: int) -> Iterator[Round]:
    """All tokens of a step, at most `chunk` of a sequence at a time, and none across a block's border."""
    going: list[_Place] = []
    row = 0
    for work in works:
        going.append(_Place(work, row, work.sequence.num_computed, len(work.ids)))
        row += len(work.ids)
    while going:
        together: dict[int, list[_Place]] = {}
        for place in going:
            length = min(chunk, block_size - place.position % block_size, place.left)
            together.setdefault(length, []).append(place)
        for length, places in together.items():
            for start in range(0, len(places), STATE_ROWS):
                yield _round(places[start : start + STATE_ROWS], length, block_size)
        going = [place for place in going if place.left]


def _round(places: list[_Place], length: int, block_size: int) -> Round:
    rows_BL = torch.tensor([place.row for place in places]).unsqueeze(1) + torch.arange(length)
    before = [
        place.work.sequence.blocks[(place.position - 1) // block_size] if place.position else SCRATCH
        for place in places
    ]
    for place in places:
        place.row += length
        place.position += length
        place.left -= length
    after = [place.work.sequence.blocks[(place.position - 1) // block_size] for place in places]
    return Round(rows_R=rows_BL.flatten(), length=length, before=before, after=after)
