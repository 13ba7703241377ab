"""Windows of a stream, packed into rows: what a row will hold, before any token of it is read.

    drawn segments | window 0: 512 rows' worth | window 1 ...
                   -> cut to the row's length -> packed -> rows in pseudo-random order

A window depends on the seed and on what was drawn before it, and on nothing else.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from pydantic import Field

from mainspring.config import Config
from mainspring.data.close_rows import fewest_rows
from mainspring.data.curriculum import OrderConfig
from mainspring.data.mix import Drawn, MixConfig, Mixture, Pick
from mainspring.data.pack import cut
from mainspring.data.permute import permute


class LoaderConfig(Config):
    """How shards become the rows of steps."""

    tokens_per_row: int = Field(default=2048, ge=2, description="ids of a row at most: the model's context")
    rows_per_step: int = Field(
        default=8, ge=1, description="rows that one update learns from, over all ranks"
    )
    window_rows: int = Field(
        default=512, ge=1, description="rows packed together; more fill rows better, and are planned at once"
    )
    seed: int = Field(default=0, description="of every order")
    workers: int = Field(default=1, ge=0, description="threads that read ahead; 0 reads when asked")
    order: OrderConfig = Field(default=OrderConfig(), description="of the segments of each dataset")
    mix: MixConfig = Field(default=MixConfig(), description="of several datasets")


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stream of rows stands: `row` rows of the window that begins after `drawn` were given.

    `loader` is the fingerprint of data and settings, which another loader refuses.
    """

    seed: int
    step: int
    row: int
    drawn: Drawn
    loader: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a segment: `length` ids from `start`; the whole of it unless it is longer than a row."""

    pick: Pick
    start: int
    length: int


def plan_rows(
    mixture: Mixture, config: LoaderConfig, drawn: Drawn, row: int, *, windows: int = 0
) -> Iterator[tuple[list[Piece], Drawn, int]]:
    """Rows from the given place on, each with the place behind it: its window's beginning and rows of that.

    `windows` ends it after so many; 0 goes on to the end of the stream.
    """
    for _ in itertools.repeat(None, windows) if windows else itertools.repeat(None):
        picks, after = mixture.take(drawn, config.window_rows * config.tokens_per_row)
        if not picks:
            return
        pieces = [Piece(pick, *each) for pick in picks for each in cut(pick.length, config.tokens_per_row)]
        rows = fewest_rows([piece.length for piece in pieces], config.tokens_per_row)
        order = permute(np.arange(len(rows)), len(rows), (config.seed, *drawn.taken))
        for number in range(row, len(rows)):
            yield [pieces[index] for index in rows[order[number]]], drawn, number + 1
        drawn, row = after, 0
