"""What the engine guesses the next ids of sequences to be.

What a grammar leaves no choice about comes first, then what followed the same words before, then what a smaller
model says; the last two as long as they pay.
"""

import time
from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np

from mainspring.infer.backends.base import Backend
from mainspring.infer.request import EngineConfig, Request, Sequence
from mainspring.infer.sampling import pick_rows
from mainspring.infer.scheduler import Work
from mainspring.infer.speculate import Pace
from mainspring.infer.tempo import Tempo, mean
from mainspring.schema import Sampling

NOBODYS = Request(ids=(), sampling=Sampling())
MANY = 4
"""New ids a sequence up to which a draft's step takes about as long as one of a single id."""


def guess_all(draft: "DraftModel | None", sequences: Many[Sequence], tempo: Tempo) -> None:
    """Set the `guess` of sequences that decode, and the `pace` that learns whether it held."""
    left: list[tuple[Sequence, int]] = []
    row_cost = tempo.row_cost(len(sequences))
    for sequence in sequences:
        most = max(sequence.request.sampling.max_tokens - sequence.num_generated - 1, 0)
        sequence.guess, sequence.pace = [], None
        if sequence.grammar is not None and (forced := sequence.grammar.forced()):
            sequence.guess = forced[:most]
            continue
        limit = min(most, sequence.ngram_pace.limit(row_cost))
        if limit and (guess := sequence.ngram.propose(sequence.ids, limit)):
            sequence.guess, sequence.pace = guess, sequence.ngram_pace
        elif draft is not None and (limit := min(most, draft.limit(row_cost, tempo))):
            left.append((sequence, limit))
    if draft is not None and left:
        draft.guess(left)


@dataclass(slots=True)
class Trail:
    """A sequence as the draft model goes on with it: `place` says where its keys and values lie."""

    sequence: Sequence
    place: Sequence
    limit: int
    new: list[int]


class DraftModel:
    """A smaller model that goes ahead of the engine's. Paper: arXiv:2211.17192.

    Its ids are chosen as the engine will choose, by the same random numbers (section 2 instead draws anew and
    rejects), so nothing of a distribution changes. Its keys and values stand in blocks of the engine's numbers, and
    those of ids beyond a sequence's blocks in spare ones. Which id a slot was computed for is kept, so prefixes,
    copies, rejected guesses and blocks with new contents need no accounts: it begins where the ids differ. A slot
    whose id is right by chance makes a guess worse, and no answer.

    `backend` is made for the sizes that `sizes` gives of the engine's `config`; `vocab_size` ids are known to the
    engine's model as well.
    """

    def __init__(self, backend: Backend, config: EngineConfig, vocab_size: int) -> None:
        self._backend, self._size, self._vocab_size = backend, config.block_size, vocab_size
        self._num_blocks, self._num_spare = config.num_blocks, _num_spare(config)
        self._held_S = np.full(self.sizes(config).num_blocks * self._size, -1, np.int64)
        self._step_s: float | None = None
        self.pace = Pace(worth=1.25, patience=2)  # it also reads prompts, and at every try what it has missed

    @staticmethod
    def sizes(config: EngineConfig) -> EngineConfig:
        """Those of the draft's backend: with spare blocks for every sequence."""
        num_blocks = config.num_blocks + config.max_running * _num_spare(config)
        return config.model_copy(update={"num_blocks": num_blocks})

    def limit(self, row_cost: float, tempo: Tempo) -> int:
        """How many ids to guess for a sequence; two until it is known how long one takes, for `row_cost` see Tempo."""
        return 2 if self._step_s is None else self.pace.limit(row_cost + tempo.share(self._step_s))

    def copy_block(self, source: int, target: int) -> None:
        """See Backend.copy_block."""
        self._backend.copy_block(source, target)
        held_BS = self._held_S.reshape(-1, self._size)
        held_BS[target] = held_BS[source]

    def guess(self, wanted: Many[tuple[Sequence, int]]) -> None:
        """Guess at most so many ids for each; none for prompts that it has not read to their ends yet."""
        room = self._backend.max_step_tokens
        going: list[Trail] = []
        for index, (sequence, most) in enumerate(wanted):
            limit = min(most, self._backend.model_config.context - len(sequence.ids))
            if room > 0 and limit > 0:
                trail = self._trail(sequence, limit, index, room)
                if max(trail.new) < self._vocab_size:  # else it knows less than the engine's model
                    going.append(trail)
                    room -= len(trail.new)
        while going:
            self._step(going)
            going = [trail for trail in going if len(trail.sequence.guess) < trail.limit]

    def _trail(self, sequence: Sequence, limit: int, index: int, room: int) -> Trail:
        first_spare = self._num_blocks + index * self._num_spare
        place = Sequence(
            request=NOBODYS, sink=sequence.sink, seed=0, ids=[],
            blocks=[*sequence.blocks, *range(first_spare, first_spare + self._num_spare)],
        )  # fmt: skip
        start, last = sequence.num_dropped * self._size, len(sequence.ids) - 1
        held = self._held_S[self._slots(place, start, last)]
        wrong = np.flatnonzero(held != np.array(sequence.ids[start:last]))
        place.num_computed = start + int(wrong[0]) if len(wrong) else last
        new = sequence.ids[place.num_computed :]
        is_whole = len(new) <= room
        sequence.pace = self.pace
        return Trail(sequence, place, limit if is_whole else 0, new[:room])

    def _step(self, trails: Many[Trail]) -> None:
        """One more id for each; those that are not read to their ends get none."""
        works = [Work(each.place, tuple(each.new), int(each.limit > 0)) for each in trails]
        start = time.perf_counter()
        scores_NV = self._backend.step(works)[:, : self._vocab_size]
        if sum(len(each.new) for each in trails) <= MANY * len(trails):
            self._step_s = mean(self._step_s, time.perf_counter() - start)
        for trail in trails:
            end = trail.place.num_computed + len(trail.new)
            self._held_S[self._slots(trail.place, trail.place.num_computed, end)] = trail.new
            trail.place.num_computed = end
        whole = [trail for trail in trails if trail.limit]
        rows = [trail.sequence.row(len(trail.sequence.guess)) for trail in whole]
        for trail, token_id in zip(whole, pick_rows(scores_NV, rows), strict=True):
            if token_id in trail.sequence.request.ends:
                trail.limit = 0
            else:
                trail.sequence.guess.append(token_id)
                trail.new = [token_id]

    def _slots(self, place: Sequence, start: int, end: int) -> np.ndarray:
        at_T = np.arange(start, end)
        return np.array(place.blocks)[at_T // self._size] * self._size + at_T % self._size


def _num_spare(config: EngineConfig) -> int:
    return -(-Pace.MAX // config.block_size)
