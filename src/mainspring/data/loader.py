"""Packed rows for the steps of a run: the same sequence for any number of ranks and threads, from any place on.

    shards -> order -> mixture -> windows of packed rows -> steps -> rows r::ranks of each step for rank r

What a step holds follows from its cursor, a few integers. Nothing random is kept between steps, so a run that
was killed goes on with exactly the rows that it would have seen, on as many ranks as there are then.
"""

import hashlib
import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import msgspec
import numpy as np

from mainspring.artifact import fingerprint_of
from mainspring.data.curriculum import make_order
from mainspring.data.document import stable_hash
from mainspring.data.mix import Mixture
from mainspring.data.shards import Shards
from mainspring.data.window import Cursor, LoaderConfig, Piece, plan_rows
from mainspring.errors import ConfigError

AHEAD = 2  # steps that each thread reads before they are asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a segment lies in a row: `length` ids from `start`; `offset` is how many of its document's went
    before, above 0 only in documents that are longer than a row.
    """

    start: int
    length: int
    offset: int
    segment: int
    document: str
    dataset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Segments packed one behind the other: ids and pos int64, weight float32, each of shape (T,).

    `pos` restarts at 0 where a segment starts. `weight[i]` says how much `ids[i]` is learnt as the answer to what
    stands before it in its segment; that of a segment's first id is never used.
    """

    ids: np.ndarray
    pos: np.ndarray
    weight: np.ndarray
    segments: tuple[Place, ...]

    @property
    def lengths(self) -> list[int]:
        """Of the segments, in order: what PackedAttend keeps apart."""
        return [place.length for place in self.segments]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """This rank's rows of one step; `num_rows` and `num_tokens` are those of all ranks, `cursor` is behind it.

    At a run's end a step may have fewer rows than ranks; every rank still gets as many steps.
    """

    number: int
    rows: tuple[Row, ...]
    num_rows: int
    num_tokens: int
    cursor: Cursor


class Packing(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and tokens of a window, and the part of the rows that tokens fill; `passes` by dataset, for the run."""

    rows: int
    tokens: int
    utilization: float
    passes: dict[str, float]


class Loader:
    """The rows of a run over one or several sets of shards.

    Args:
        datasets: shards by name, all of one tokenizer.
        config: rows, order, mixture.
        rank, ranks: this process's part of every step.
        scores: by name of the dataset, one number a segment to order it by (a model's losses).

    Raises:
        ConfigError: shards of different tokenizers, a rank that there is not, weights for unknown names.

    """

    def __init__(
        self,
        datasets: Mapping[str, Shards],
        config: LoaderConfig,
        *,
        rank: int = 0,
        ranks: int = 1,
        scores: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        if not 0 <= rank < ranks:
            raise ConfigError(f"The rank is {rank} of {ranks}; ranks count from 0 to {ranks - 1}.")
        _check_alike(datasets)
        self._names, self._shards = tuple(datasets), tuple(datasets.values())
        self._config, self._rank, self._ranks = config, rank, ranks
        given = scores or {}
        orders = {
            name: make_order(each, config.order, stable_hash(f"{config.seed}/{name}"), given.get(name))
            for name, each in datasets.items()
        }
        self.mixture = Mixture(datasets, orders, config.mix)
        data = {name: each.fingerprint for name, each in datasets.items()}
        decisive = config.model_dump(mode="json", exclude={"rows_per_step", "workers"})
        kept = {
            name: hashlib.sha256(np.asarray(each, "<f8").tobytes()).hexdigest()
            for name, each in given.items()
        }
        self.fingerprint = fingerprint_of([list(data.items()), decisive, kept])[:16]

    def start(self) -> Cursor:
        """Before the first step."""
        return Cursor(
            seed=self._config.seed, step=0, row=0, drawn=self.mixture.start(), loader=self.fingerprint
        )

    def steps(self, cursor: Cursor | None = None) -> Iterator[Step]:
        """All steps, or those that follow a cursor.

        Raises:
            ConfigError: a cursor of another loader.

        """
        begin = cursor or self.start()
        if begin.loader != self.fingerprint:
            raise ConfigError(
                f"The cursor is of the loader {begin.loader}, this one is {self.fingerprint}: data, order, mixture, "
                "seed or the length of rows are not the same. Undo that, or start from the beginning."
            )
        plans = self._plan(begin)
        if not self._config.workers:
            yield from (self._read(*plan) for plan in plans)
            return
        yield from self._read_ahead(plans)

    def num_steps(self) -> int:
        """How many steps there are from the beginning to the end of the stream; every row is planned for it."""
        return sum(1 for _ in self._plan(self.start()))

    def measure(self) -> Packing:
        """What the first window becomes, and how often each dataset will be gone through in the run."""
        drawn = self.mixture.start()
        rows = [
            sum(piece.length for piece in pieces)
            for pieces, _, _ in plan_rows(self.mixture, self._config, drawn, 0, windows=1)
        ]
        utilization = sum(rows) / (len(rows) * self._config.tokens_per_row)
        return Packing(
            rows=len(rows), tokens=sum(rows), utilization=utilization, passes=self.mixture.forecast()
        )

    def _plan(self, cursor: Cursor) -> Iterator[tuple[list[list[Piece]], Cursor]]:
        """The rows of each step of all ranks, and the cursor behind it."""
        rows = plan_rows(self.mixture, self._config, cursor.drawn, cursor.row)
        for step in itertools.count(cursor.step + 1):
            taken = list(itertools.islice(rows, self._config.rows_per_step))
            if not taken:
                return
            _, drawn, row = taken[-1]
            behind = Cursor(seed=cursor.seed, step=step, row=row, drawn=drawn, loader=cursor.loader)
            yield [pieces for pieces, _, _ in taken], behind

    def _read_ahead(self, plans: Iterator[tuple[list[list[Piece]], Cursor]]) -> Iterator[Step]:
        """Read in threads, give in order."""
        with ThreadPoolExecutor(self._config.workers, thread_name_prefix="loader") as pool:
            waiting: deque[Future[Step]] = deque()
            try:
                for plan in plans:
                    waiting.append(pool.submit(self._read, *plan))
                    if len(waiting) > AHEAD * self._config.workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _read(self, rows: list[list[Piece]], cursor: Cursor) -> Step:
        mine = rows[self._rank :: self._ranks]
        return Step(
            number=cursor.step, rows=tuple(self._row(pieces) for pieces in mine), num_rows=len(rows),
            num_tokens=sum(piece.length for pieces in rows for piece in pieces), cursor=cursor,
        )  # fmt: skip

    def _row(self, pieces: list[Piece]) -> Row:
        num_tokens = sum(piece.length for piece in pieces)
        ids, pos = np.empty(num_tokens, dtype=np.int64), np.empty(num_tokens, dtype=np.int64)
        weight = np.empty(num_tokens, dtype=np.float32)
        places: list[Place] = []
        start = 0
        for piece in pieces:
            pick, there = piece.pick, slice(piece.start, piece.start + piece.length)
            here = slice(start, start + piece.length)
            segment = self._shards[pick.part].segment(pick.index)
            ids[here], weight[here] = segment.ids[there], segment.weight[there]
            pos[here] = np.arange(piece.length)
            place = Place(
                start=start, length=piece.length, offset=piece.start, segment=pick.index,
                document=segment.document, dataset=self._names[pick.part],
            )  # fmt: skip
            places.append(place)
            start += piece.length
        return Row(ids=ids, pos=pos, weight=weight, segments=tuple(places))


def _check_alike(datasets: Mapping[str, Shards]) -> None:
    if not datasets:
        raise ConfigError("No shards were given to load; name at least one dataset.")
    (first, shards), *others = datasets.items()
    for name, other in others:
        other.check_tokenizer(shards.manifest.tokenizer, f"'{first}', which '{name}' is mixed with,")
