"""Who computes how many tokens in the next step.

There is one budget of tokens a step and one notion of work: a sequence has ids without keys and values yet. Decoding
is a sequence that lacks one, speculation adds guessed ids behind it, a prompt lacks many and may take several steps.
All of them go into one step.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mainspring.infer.blocks import SCRATCH, BlockPool, chain, root
from mainspring.infer.request import EngineConfig, Sequence
from mainspring.infer.stats import EngineStats
from mainspring.infer.tempo import Tempo
from mainspring.infer.waiting import Waiting

MAX_SCORED = 64
"""Rows of a prompt that are scored in one step: every one is as wide as the vocabulary."""

Guess = Callable[[list[Sequence], Tempo], None]
"""Sets what it guesses of sequences that decode."""


@dataclass(frozen=True, slots=True)
class Work:
    """Compute `ids`, which stand behind the sequence's computed ones, and score the last `num_scored` of them.

    The last `num_drafts` ids are guesses.
    """

    sequence: Sequence
    ids: tuple[int, ...]
    num_scored: int
    num_drafts: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a step does: blocks to copy first (from, to), then the works."""

    copies: list[tuple[int, int]] = field(default_factory=list)
    works: list[Work] = field(default_factory=list)
    coming: set[bytes] = field(default_factory=set)

    @property
    def num_tokens(self) -> int:
        return sum(len(work.ids) for work in self.works)


class Scheduler:
    """`model` names the weights in the cache; for `window` and `grain` see Backend."""

    def __init__(
        self, config: EngineConfig, *, model: str = "", window: int | None = None, grain: int = 1,
        guess: Guess | None = None,
    ) -> None:  # fmt: skip
        self._config, self._model, self._window = config, model, window
        self._size = config.block_size
        self._guess = guess or (lambda *_: None)
        self.pool = BlockPool(config.num_blocks)
        self.waiting = Waiting()
        self.running: list[Sequence] = []
        self.tempo = Tempo(config.max_slowdown, grain)
        self.stats = EngineStats()

    def __iter__(self) -> Iterator[Sequence]:
        """All open sequences, those that follow another behind it."""
        for leader in itertools.chain(self.running, self.waiting):
            yield leader
            yield from leader.followers

    def add(self, sequence: Sequence) -> None:
        self.waiting.add(sequence, self.running)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence that ended; its blocks stay findable until they are needed.

        Those that waited for its prompt wait for themselves now.
        """
        self._give_up_blocks(sequence)
        places = itertools.chain((self.running, self.waiting), (each.followers for each in self))
        next(place for place in places if sequence in place).remove(sequence)
        if sequence.followers:
            heir, *heir.followers = sequence.followers
            sequence.followers = []
            self.waiting.append(heir)

    def plan(self) -> Plan:
        """The next step: those who decode, then prompts that have begun, then as many waiting ones as fit."""
        plan = Plan()
        self.running.sort(key=lambda each: (-each.request.priority, each.arrived))
        decoding = [each for each in self.running if each.num_lacking == 1]
        self._guess(decoding, self.tempo)
        for sequence in decoding:
            self._go_on(sequence, plan, self._config.max_step_tokens)
        most = self._config.max_step_tokens
        if plan.works:
            most = min(most, plan.num_tokens + self.tempo.prompt_tokens())
        for sequence in [each for each in self.running if each.num_lacking > 1]:
            self._go_on(sequence, plan, most)
        self._let_in(plan, most)
        return plan

    def done(self, plan: Plan, seconds: float) -> None:
        """Note that a step has run: its tokens have keys and values, all but the guessed ones for certain."""
        num_prompt = num_drafts = 0
        for work in plan.works:
            known = len(work.ids) - work.num_drafts
            num_prompt += known if known > 1 or not work.num_scored else 0
            num_drafts += work.num_drafts
            self.waiting.num_served[work.sequence.request.tenant] += known
            self.computed(work.sequence, known)
        num_decoding = plan.num_tokens - num_prompt - num_drafts
        self.tempo.note(num_decoding, num_drafts, num_prompt, seconds)
        self.stats.prompt_tokens += num_prompt
        self.stats.num_steps += 1
        self.stats.last_step_s = seconds

    def computed(self, sequence: Sequence, num_tokens: int) -> None:
        """So many more of a sequence's ids have keys and values; full blocks get their names."""
        start = sequence.num_computed
        sequence.num_computed += num_tokens
        names = self._names(sequence, start, sequence.num_computed)
        for index, name in enumerate(names, start // self._size):
            self.pool.name(sequence.blocks[index], name)
        self._drop_unseen(sequence)

    def fork(self, sequence: Sequence) -> list[Sequence]:
        """Let those who follow a sequence go on from what it has computed; the ones for whom there is room."""
        room = self._config.max_running - len(self.running)
        going, left = sequence.followers[:room], sequence.followers[room:]
        sequence.followers = []
        num_blocks = -(-sequence.num_computed // self._size)
        for follower in going:
            follower.blocks, follower.names = sequence.blocks[:num_blocks], list(sequence.names)
            self.pool.share(follower.blocks)
            follower.num_computed = follower.num_cached = sequence.num_computed
        self.running += going
        self.waiting += left
        return going

    def _go_on(self, sequence: Sequence, plan: Plan, most: int) -> None:
        """Plan the next ids of one that runs; if it needs room, the least of those without work yet goes to wait."""
        budget = most - plan.num_tokens
        while budget > 0 and sequence in self.running and not self._work(sequence, plan, budget):
            busy = {work.sequence for work in plan.works}
            victim = next(each for each in reversed(self.running) if each not in busy)
            self.running.remove(victim)
            self._give_up_blocks(victim)
            self.waiting.append(victim)
            self.stats.num_preemptions += 1

    def _work(self, sequence: Sequence, plan: Plan, budget: int) -> bool:
        """Plan the next ids of a sequence, if there is room for their keys and values."""
        start, lacking = sequence.num_computed, sequence.num_lacking
        if sequence.wants_prompt:
            budget = min(budget, MAX_SCORED)
        known = sequence.ids[start : start + min(budget, lacking)]
        # With followers nothing is guessed: a block that guesses fill is found by its name, yet they write into it.
        drafts = sequence.guess[: budget - 1] if lacking == 1 and not sequence.followers else []
        if not self._grow(sequence, len(known) + len(drafts), plan):
            return False
        sequence.guess = []
        scored = len(known) if sequence.wants_prompt else int(len(known) == lacking)
        plan.works.append(Work(sequence, (*known, *drafts), scored + len(drafts), len(drafts)))
        if lacking > 1:
            plan.coming.update(self._names(sequence, start, start + len(known)))
        return True

    def _let_in(self, plan: Plan, most: int) -> None:
        if not self.waiting or len(self.running) >= self._config.max_running:
            return
        for sequence in self.waiting.order(self._num_found):
            if plan.num_tokens >= most or len(self.running) >= self._config.max_running:
                sequence.num_passed += 1
                continue
            if self._is_coming(sequence, plan):
                continue
            self._reuse_prefix(sequence)
            missing = self._num_missing(sequence, sequence.num_lacking)
            must_wait = plan.works and missing > self.pool.num_available
            if must_wait or not self._work(sequence, plan, most - plan.num_tokens):
                self._give_up_blocks(sequence)
                self.waiting.first_in_need = sequence
                break
            self.waiting.remove(sequence)
            self.running.append(sequence)

    def _grow(self, sequence: Sequence, num_tokens: int, plan: Plan) -> bool:
        """Take the blocks that are missing, and one for a copy if the first to write to is shared (copy on write)."""
        blocks, first = sequence.blocks, sequence.num_computed // self._size
        is_shared = first < len(blocks) and self.pool.is_shared(blocks[first])
        taken = self.pool.take(self._num_missing(sequence, num_tokens) + is_shared)
        if taken is None:
            return False
        if is_shared:
            plan.copies.append((blocks[first], taken[-1]))
            self.pool.release([blocks[first]])
            blocks[first] = taken.pop()
        blocks += taken
        return True

    def _num_missing(self, sequence: Sequence, num_tokens: int) -> int:
        needed = -(-(sequence.num_computed + num_tokens) // self._size)
        return max(needed - len(sequence.blocks), 0)  # wrong guesses leave too many

    # --- prefixes ---------------------------------------------------------------------------------------

    def _names(self, sequence: Sequence, start: int, end: int) -> Iterator[bytes]:
        """The names of the blocks that a sequence's ids from `start` to `end` fill, made as they are asked for."""
        names, request = sequence.names, sequence.request
        for index in range(start // self._size, end // self._size if self._config.prefix_cache else 0):
            if index == len(names):
                parent = names[-1] if names else root(self._model, request.adapter, request.salt)
                names.append(chain(parent, sequence.ids[index * self._size : (index + 1) * self._size]))
            yield names[index]

    def _reusable(self, sequence: Sequence) -> Iterator[bytes]:
        """Names of full blocks that may come from the cache: at least one id is left to compute."""
        return self._names(sequence, 0, 0 if sequence.wants_prompt else len(sequence.ids) - 1)

    def _num_found(self, sequence: Sequence) -> int:
        return sum(1 for _ in itertools.takewhile(self.pool.has, self._reusable(sequence)))

    def _is_coming(self, sequence: Sequence, plan: Plan) -> bool:
        """Whether this very step computes the first block that a waiting sequence lacks; then it waits for it."""
        lacking = itertools.dropwhile(self.pool.has, self._reusable(sequence))
        return next(lacking, None) in plan.coming

    def _reuse_prefix(self, sequence: Sequence) -> None:
        """Take the blocks that others computed for the same ids."""
        known = itertools.takewhile(self.pool.has, self._reusable(sequence))
        sequence.blocks = [self.pool.find(name) for name in known]
        sequence.num_computed = len(sequence.blocks) * self._size
        sequence.num_cached = max(sequence.num_cached, sequence.num_computed)
        self.stats.prefix_queries += len(sequence.ids)
        self.stats.prefix_hits += sequence.num_computed

    def _drop_unseen(self, sequence: Sequence) -> None:
        """Give back the blocks that no layer looks at any more; their ids stay findable until they are needed."""
        if self._window is None or sequence.followers:
            return
        first = max(sequence.num_computed - self._window, 0) // self._size
        for index in range(sequence.num_dropped, first):
            self.pool.release([sequence.blocks[index]])
            sequence.blocks[index] = SCRATCH
        sequence.num_dropped = first

    def _give_up_blocks(self, sequence: Sequence) -> None:
        """Nothing of it is computed any more, so nothing can be guessed behind that."""
        self.pool.release(sequence.blocks)
        sequence.blocks, sequence.guess = [], []
        sequence.num_computed = sequence.num_dropped = 0
