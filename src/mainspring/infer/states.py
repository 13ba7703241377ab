"""States in the paged cache, and in which order tokens go through the layers that have them.

Every block has room for the state that its last computed token left. So a sequence finds the state that it goes on
from in its newest block, a full block keeps what the next one begins with, and prefixes, copies and preemptions are
those of the blocks (snapshots at block borders; arXiv:2411.19379 instead keeps few of them and asks which).

Shapes: R rows of a round (B sequences of L tokens).
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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


class _Piece(NamedTuple):
    """Tokens of one sequence in a round: their first row of the step, and the blocks as in Round."""

    row: int
    length: int
    before: int
    after: int


def rounds(works: Sequence[Work], block_size: int, chunk: int) -> Iterator[Round]:
    """All tokens of a step, at most `chunk` of a sequence at a time, and none across a block's border."""
    first_rows = itertools.accumulate((len(work.ids) for work in works), initial=0)
    cut = [_pieces(work, row, block_size, chunk) for work, row in zip(works, first_rows, strict=False)]
    for pieces in itertools.zip_longest(*cut):
        together: dict[int, list[_Piece]] = {}
        for piece in filter(None, pieces):
            together.setdefault(piece.length, []).append(piece)
        for length, equal in together.items():
            for start in range(0, len(equal), STATE_ROWS):
                rows, _, before, after = map(list, zip(*equal[start : start + STATE_ROWS], strict=True))
                rows_BL = torch.tensor(rows).unsqueeze(1) + torch.arange(length)
                yield Round(rows_R=rows_BL.flatten(), length=length, before=before, after=after)


def _pieces(work: Work, row: int, block_size: int, chunk: int) -> Iterator[_Piece]:
    """A work's tokens, one piece behind the other; `row` is its first of the step."""
    blocks, position = work.sequence.blocks, work.sequence.num_computed
    end = position + len(work.ids)
    before = blocks[(position - 1) // block_size] if position else SCRATCH
    while position < end:
        length = min(chunk, block_size - position % block_size, end - position)
        after = blocks[position // block_size]
        yield _Piece(row, length, before, after)
        row, position, before = row + length, position + length, after
