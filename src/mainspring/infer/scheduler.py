"""Who computes how many tokens in the next step.

There is one budget of tokens a step and one notion of work: a sequence has ids without keys and values yet.
Decoding is a sequence that lacks one, a prompt lacks many and may take several steps. A step runs one
adapter's sequences; adapters take turns.
"""

from collections import deque
from dataclasses import dataclass

from mainspring.infer.blocks import BlockPool, chain
from mainspring.infer.request import EngineConfig, Sequence


@dataclass(frozen=True, slots=True)
class Work:
    """Compute the next `num_tokens` ids of `sequence`."""

    sequence: Sequence
    num_tokens: int

    @property
    def is_complete(self) -> bool:
        """After this step every id has its keys and values, so the next id can be chosen."""
        return self.sequence.num_computed + self.num_tokens == len(self.sequence.ids)


class Scheduler:
    def __init__(self, config: EngineConfig, pool: BlockPool) -> None:
        self._config, self._pool = config, pool
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._turns: dict[str | None, int] = {}
        self._num_turns = 0
        self._first_in_need: Sequence | None = None

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence that ended; its blocks stay findable until they are needed."""
        self._pool.release(sequence.blocks)
        sequence.blocks = []
        if sequence in self.running:
            self.running.remove(sequence)
        else:
            self.waiting.remove(sequence)
        if sequence is self._first_in_need:
            self._first_in_need = None

    def plan(self) -> list[Work]:
        """The next step: running sequences first, oldest first, then as many waiting ones as fit.

        While one waits for blocks no other is let in, lest small ones of other adapters starve a large one.
        """
        adapter = self._next_adapter()
        budget = self._config.max_step_tokens
        works: list[Work] = []
        for sequence in list(self.running):
            if budget == 0:
                break
            if sequence in self.running and sequence.request.adapter == adapter:
                num_tokens = min(budget, len(sequence.ids) - sequence.num_computed)
                if self._make_room(sequence, num_tokens, works):
                    works.append(Work(sequence, num_tokens))
                    budget -= num_tokens
        for sequence in [waiting for waiting in self.waiting if waiting.request.adapter == adapter]:
            if budget == 0 or len(self.running) >= self._config.max_running:
                break
            if self._first_in_need not in (None, sequence):
                continue
            self._reuse_prefix(sequence)
            num_tokens = min(budget, len(sequence.ids) - sequence.num_computed)
            if not self._grow(sequence, num_tokens):
                self._give_up_blocks(sequence)
                self._first_in_need = sequence
                break
            self._first_in_need = None
            self.waiting.remove(sequence)
            self.running.append(sequence)
            works.append(Work(sequence, num_tokens))
            budget -= num_tokens
        return works

    def done(self, work: Work) -> None:
        """Note that a step has run: its tokens have keys and values, and full blocks get their names."""
        sequence = work.sequence
        sequence.num_computed += work.num_tokens
        size = self._config.block_size
        for index in range(len(sequence.hashes), sequence.num_computed // size):
            parent = sequence.hashes[-1] if sequence.hashes else b""
            ids = sequence.ids[index * size : (index + 1) * size]
            sequence.hashes.append(chain(parent, ids, sequence.request.adapter))
            self._pool.name(sequence.blocks[index], sequence.hashes[-1])

    def _next_adapter(self) -> str | None:
        """The adapter whose turn it is: the one that has not run for longest."""
        adapters = dict.fromkeys(s.request.adapter for s in [*self.running, *self.waiting])
        if not adapters:
            return None
        adapter = min(adapters, key=lambda each: self._turns.get(each, 0))
        self._num_turns += 1
        self._turns[adapter] = self._num_turns
        return adapter

    def _make_room(self, sequence: Sequence, num_tokens: int, works: list[Work]) -> bool:
        """Grow a running sequence; if need be, the youngest ones that have no work yet go back to wait."""
        while not self._grow(sequence, num_tokens):
            busy = {id(work.sequence) for work in works}
            victim = next((s for s in reversed(self.running) if id(s) not in busy), sequence)
            self.running.remove(victim)
            self._give_up_blocks(victim)
            self.waiting.appendleft(victim)
            if victim is sequence:
                return False
        return True

    def _grow(self, sequence: Sequence, num_tokens: int) -> bool:
        size = self._config.block_size
        lacking = -(-(sequence.num_computed + num_tokens) // size) - len(sequence.blocks)
        if lacking > self._pool.num_available:
            return False
        for _ in range(lacking):
            block = self._pool.take()
            assert block is not None
            sequence.blocks.append(block)
        return True

    def _reuse_prefix(self, sequence: Sequence) -> None:
        """Take the blocks that others computed for the same ids; at least one id is left to compute."""
        size = self._config.block_size
        parent = b""
        for start in range(0, len(sequence.ids) - size, size):
            parent = chain(parent, sequence.ids[start : start + size], sequence.request.adapter)
            block = self._pool.find(parent)
            if block is None:
                break
            sequence.blocks.append(block)
            sequence.hashes.append(parent)
        sequence.num_computed = len(sequence.blocks) * size
        sequence.num_cached = max(sequence.num_cached, sequence.num_computed)

    def _give_up_blocks(self, sequence: Sequence) -> None:
        self._pool.release(sequence.blocks)
        sequence.blocks, sequence.hashes, sequence.num_computed = [], [], 0
