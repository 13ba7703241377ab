"""The engine: one thread that schedules, computes, chooses and hands out.

submit -> inbox -> scheduler -> backend -> choose -> sink
"""

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Many
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial

from mainspring.errors import ConfigError, DeadlineError, MainspringError, NotFoundError, OverloadedError
from mainspring.infer import sampling
from mainspring.infer.backends.base import Backend
from mainspring.infer.base import AnyTicket
from mainspring.infer.drafts import DraftModel, guess_all
from mainspring.infer.grammar import Grammars
from mainspring.infer.layout import window_of
from mainspring.infer.request import EngineConfig, Output, OutputSink, Request, Sequence, hand_out
from mainspring.infer.sampling import Seen
from mainspring.infer.scheduler import Scheduler
from mainspring.infer.stats import EngineStats
from mainspring.infer.turn import Chooser

MAX_RETRY_S = 60
logger = logging.getLogger(__name__)


class Engine(AbstractContextManager["Engine"]):
    """Runs requests together; thread-safe. Use as a context manager, or call close().

    Without `grammars` constraints are refused; `draft` is a smaller model that guesses.
    """

    def __init__(
        self, backend: Backend, config: EngineConfig, grammars: Grammars | None = None,
        draft: DraftModel | None = None,
    ) -> None:  # fmt: skip
        self._backend, self._config, self._grammars, self._draft = backend, config, grammars, draft
        self.backend_name, self.fingerprint = backend.name, backend.fingerprint
        model = backend.model_config
        most = min(config.max_step_tokens, backend.max_step_tokens)
        self._scheduler = Scheduler(
            config.model_copy(update={"max_step_tokens": most}), model=backend.fingerprint,
            window=window_of(model), grain=backend.grain,
            guess=partial(guess_all, draft) if config.speculation and not model.has_states else None,
        )  # fmt: skip
        self._choose = Chooser(self._scheduler, self._end, backend.summarize)
        self.context = min(model.context, self._scheduler.pool.num_blocks * config.block_size)
        self._inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        """What the engine's thread is to do between two steps."""
        self._leaving: dict[str, Callable[[], object]] = {}
        """Adapters that are to be taken off, and how, once nothing is under way with them."""
        self._num_open = 0
        self.after_step: Callable[[], None] = lambda: None
        """Called from the engine's thread when a step's outputs have been handed out."""
        self._lock = threading.Lock()
        self._why_ended = ""  # once it is said, nothing comes into the inbox that would wait for an answer
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, request: Request, sink: OutputSink) -> AnyTicket:
        """Queue a request; `sink` is called from the engine's thread. See submit_all."""
        return self.submit_all([request], [sink])[0]

    def submit_all(self, requests: Many[Request], sinks: Many[OutputSink]) -> Many[AnyTicket]:
        """Queue requests for the same ids, which are computed once for all of them.

        Raises:
            ConfigError: a sampling value out of range, or a constraint that cannot be compiled.
            ContextLengthError: the prompt and what may follow do not fit the model or the cache.
            OverloadedError: too many requests are waiting.
            MainspringError: the engine was closed or has failed.

        """
        assert len({(each.ids, each.adapter, each.salt) for each in requests}) == 1
        sequences = [self._sequence(request, sink) for request, sink in zip(requests, sinks, strict=True)]
        leader, *sequences[0].followers = sequences
        with self._lock:
            self._check_open("asked of")
            if self._num_open + len(sequences) > self._config.max_waiting:
                raise OverloadedError(
                    f"{self._num_open} requests are open and {self._config.max_waiting} is the limit. Try again in "
                    f"{self._retry_s()} s.",
                    retry_after_s=self._retry_s(),
                )
            self._num_open += len(sequences)
            self._inbox.put(partial(self._scheduler.add, leader))
        return sequences

    def stats(self) -> EngineStats:
        """What the engine does and holds at this moment."""
        stats = self._scheduler.stats
        stats.num_running, stats.num_waiting = len(self._scheduler.running), len(self._scheduler.waiting)
        stats.kv_use = self._scheduler.pool.num_used / self._scheduler.pool.num_blocks
        busy_since = self._busy_since
        stats.since_step_s = 0.0 if busy_since is None else time.monotonic() - busy_since
        return stats

    def between_steps(self, change: Callable[[], object]) -> None:
        """Run `change` in the engine's thread while no step runs, and wait for it (loading an adapter).

        What is under way with an adapter that it takes off ends with an error. What is submitted in it is worked on
        together from its first step on.
        """
        done = Future[object]()

        def run() -> None:
            try:
                self._check_open("changed in")
                done.set_result(change())
            except BaseException as error:  # noqa: BLE001 - handed to the caller below
                done.set_exception(error)

        with self._lock:
            self._check_open("changed in")
            self._inbox.put(run)
        done.result()

    def take_off(self, adapter: str, remove: Callable[[], object]) -> None:
        """Call `remove` between two steps once nothing is under way with an adapter; what began with it finishes."""

        def leave() -> None:
            self._leaving[adapter] = remove
            self._remove_unused()

        self.between_steps(leave)

    def is_alive(self) -> bool:
        return not self._why_ended

    def close(self) -> None:
        """End all open requests as cancelled, and the thread."""
        with self._lock:
            self._why_ended = self._why_ended or "has been closed"
        self._inbox.put(lambda: None)  # lest it wait
        self._thread.join()

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _sequence(self, request: Request, sink: OutputSink) -> Sequence:
        self._check(request)
        grammar = None
        if request.constraint is not None:
            if self._grammars is None:
                raise ConfigError("This engine has no tokenizer, so it cannot hold a reply to a constraint.")
            grammar = self._grammars.compile(request.constraint).start()
        wanted = request.sampling
        seed = wanted.seed if wanted.seed is not None else secrets.randbits(63)
        ids = [*request.ids, *request.generated]
        sequence = Sequence(request=request, sink=sink, seed=seed, ids=ids, grammar=grammar)
        if (wanted.presence_penalty, wanted.frequency_penalty, wanted.repetition_penalty) != (0, 0, 1):
            sequence.seen = Seen(request.ids)
        for token_id in request.generated:
            sequence.take_note(token_id)
        return sequence

    def _check(self, request: Request) -> None:
        sampling.check(request.sampling)
        if request.adapter is not None and not self._backend.has_adapter(request.adapter):
            raise NotFoundError(f"The adapter {request.adapter} is not loaded. Load it, or ask without it.")
        request.check_fits(self.context)
        ids, size = (*request.ids, *request.generated), self._backend.model_config.vocab_size
        if not 0 <= min(ids) <= max(ids) < size:
            raise ConfigError(
                f"The prompt has ids from {min(ids)} to {max(ids)}; the model knows 0 to {size - 1}."
            )

    def _check_open(self, what: str) -> None:
        if self._why_ended:
            raise MainspringError(f"The engine {self._why_ended}, so nothing can be {what} it.")

    def _retry_s(self) -> int:
        """When about a place will be free: the time of as many steps as an answer of average length has."""
        stats = self._scheduler.stats
        done = max(stats.generated_tokens, 1)
        waves = self._num_open / self._config.max_running
        return min(max(round(stats.last_step_s * done / max(stats.num_steps, 1) * waves), 1), MAX_RETRY_S)

    def _run(self) -> None:
        output = Output(finish_reason="cancelled")
        try:
            while self._take_in():
                self._drop_ended()
                if self._scheduler.running or self._scheduler.waiting:
                    self._busy_since = time.monotonic()
                    self._step()
                self._remove_unused()
                self._busy_since = None
                self.after_step()
        except BaseException as error:  # every open request must hear of it
            logger.exception("The engine has failed; every open request is told, and later ones are refused.")
            with self._lock:
                self._why_ended = f"has failed ({type(error).__name__}: {error})"
            output = Output(error=f"The engine {self._why_ended}.")
        while not self._inbox.empty():
            self._inbox.get()()
        for sequence in self._scheduler:
            hand_out(sequence.sink, output)
        self.after_step()

    def _take_in(self) -> bool:
        """Do what has come in, waiting if there is nothing else to do; False when it is time to end."""
        is_idle = not (self._scheduler.running or self._scheduler.waiting)
        while is_idle or not self._inbox.empty():
            self._inbox.get()()
            is_idle = False
        return not self._why_ended

    def _drop_ended(self) -> None:
        """End what was called off, what is too late, and what was for an adapter that has been taken off."""
        now = time.monotonic()
        for sequence in list(self._scheduler):
            if sequence.is_cancelled:
                self._end(sequence, Output(finish_reason="cancelled"))
            elif sequence.is_late(now):
                limit = sequence.request.deadline_s
                late = DeadlineError(f"The reply was not done within its deadline of {limit:g} s.")
                self._end(sequence, Output.failed(late))
            elif (name := sequence.request.adapter) is not None and not self._backend.has_adapter(name):
                gone = NotFoundError(f"The adapter {name} has been taken off. Load it, or ask without it.")
                self._end(sequence, Output.failed(gone))

    def _remove_unused(self) -> None:
        if self._leaving:
            used = {sequence.request.adapter for sequence in self._scheduler}
            for adapter in self._leaving.keys() - used:
                self._leaving.pop(adapter)()

    def _step(self) -> None:
        plan = self._scheduler.plan()
        for source, target in plan.copies:
            self._backend.copy_block(source, target)
            if self._draft is not None:
                self._draft.copy_block(source, target)
        if not plan.works:
            return
        start = time.perf_counter()
        scores_NV = self._backend.step(plan.works)
        self._scheduler.done(plan, time.perf_counter() - start)
        self._choose(plan.works, scores_NV)

    def _end(self, sequence: Sequence, output: Output | None) -> None:
        self._scheduler.remove(sequence)
        with self._lock:
            self._num_open -= 1
        if output is not None:
            hand_out(sequence.sink, output)
