"""The engine: one thread that schedules, computes, chooses and hands out.

submit -> inbox -> scheduler -> backend -> choose -> sink
"""

import logging
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Self

import torch

from mainspring.errors import ContextLengthError, MainspringError, OverloadedError
from mainspring.infer.backends.base import Backend
from mainspring.infer.blocks import BlockPool
from mainspring.infer.request import EngineConfig, Output, OutputSink, Request, Sequence
from mainspring.infer.sampling import Row, Seen, check, choose_rows
from mainspring.infer.scheduler import Scheduler
from mainspring.schema import FinishReason

NUM_SCRATCH_BLOCKS = 1
logger = logging.getLogger(__name__)


class Ticket:
    """A submitted request: how it can be called off, and the seed it was given."""

    def __init__(self, engine: "Engine", sequence: Sequence) -> None:
        self._engine, self._sequence = engine, sequence
        self.seed = sequence.seed

    @property
    def num_cached(self) -> int:
        """Prompt ids whose keys and values were found in the cache."""
        return self._sequence.num_cached

    def cancel(self) -> None:
        """End after the running step; the slot is free in the next one."""
        self._sequence.is_cancelled = True
        self._engine.wake()


class Engine:
    """Runs requests together; thread-safe. Use as a context manager, or call close()."""

    def __init__(self, backend: Backend, config: EngineConfig) -> None:
        self._backend, self._config = backend, config
        most = min(config.max_step_tokens, backend.max_step_tokens)
        self._scheduler = Scheduler(
            config.model_copy(update={"max_step_tokens": most}), BlockPool(config.num_blocks)
        )
        self._inbox: queue.SimpleQueue[Sequence | Callable[[], None] | None] = queue.SimpleQueue()
        self._num_open = 0
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def backend_name(self) -> str:
        return self._backend.name

    def submit(self, request: Request, sink: OutputSink) -> Ticket:
        """Queue a request; `sink` is called from the engine's thread.

        Raises:
            ConfigError: a sampling value out of range.
            ContextLengthError: the prompt and what may follow do not fit the model or the cache.
            OverloadedError: too many requests are waiting.
            MainspringError: the engine was closed or has failed.

        """
        self._check(request)
        seed = request.sampling.seed if request.sampling.seed is not None else secrets.randbits(63)
        sequence = Sequence(request=request, sink=sink, seed=seed, ids=list(request.ids))
        with self._lock:
            if self._has_ended:
                raise MainspringError(f"The engine {self._why_ended()}, so nothing can be asked of it.")
            if self._num_open >= self._config.max_waiting:
                raise OverloadedError(
                    f"{self._num_open} requests are open, which is the limit. Try again shortly."
                )
            self._num_open += 1
            self._inbox.put(sequence)
        return Ticket(self, sequence)

    def between_steps(self, change: Callable[[], None]) -> None:
        """Run `change` in the engine's thread while no step runs, and wait for it (loading an adapter)."""
        done = threading.Event()
        errors: list[BaseException] = []

        def run() -> None:
            try:
                change()
            except BaseException as error:  # noqa: BLE001 - handed to the caller below
                errors.append(error)
            done.set()

        self._inbox.put(run)
        while not done.wait(0.5):
            if not self.is_alive():
                raise MainspringError(f"The engine {self._why_ended()}, so nothing can be changed in it.")
        if errors:
            raise errors[0]

    def is_alive(self) -> bool:
        return self._thread.is_alive() and self._failure is None

    def wake(self) -> None:
        self._inbox.put(lambda: None)

    def close(self) -> None:
        """End all open requests as cancelled, and the thread."""
        self._inbox.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check(self, request: Request) -> None:
        check(request.sampling)
        if not request.ids:
            raise ContextLengthError("The prompt is empty; at least one token is needed.")
        room = (self._config.num_blocks - NUM_SCRATCH_BLOCKS) * self._config.block_size
        limit = min(self._backend.context, room)
        wanted = len(request.ids) + request.sampling.max_tokens
        if wanted > limit:
            raise ContextLengthError(
                f"The prompt has {len(request.ids):,} tokens and {request.sampling.max_tokens:,} may follow, "
                f"{wanted:,} in all; {limit:,} is the limit. Shorten the prompt or ask for fewer tokens."
            )

    def _run(self) -> None:
        try:
            while self._take_in():
                self._drop_cancelled()
                if self._scheduler.running or self._scheduler.waiting:
                    self._step()
        except BaseException as error:  # noqa: BLE001 - every open request must hear of it
            self._failure = error
        with self._lock:
            self._has_ended = True  # from here on nothing comes into the inbox that would wait for an answer
        arrived = [item for item in self._empty_inbox() if isinstance(item, Sequence)]
        output = Output(finish_reason="cancelled")
        if self._failure is not None:
            output = Output(error=f"The engine {self._why_ended()}.")
        for sequence in [*self._scheduler.running, *self._scheduler.waiting, *arrived]:
            _hand_out(sequence, output)

    def _empty_inbox(self) -> Iterator[Sequence | Callable[[], None] | None]:
        while not self._inbox.empty():
            yield self._inbox.get()

    def _why_ended(self) -> str:
        if self._failure is None:
            return "has been closed"
        return f"has failed ({type(self._failure).__name__}: {self._failure})"

    def _take_in(self) -> bool:
        """Take what has come in, waiting if there is nothing else to do; False when it is time to end."""
        idle = not (self._scheduler.running or self._scheduler.waiting)
        while idle or not self._inbox.empty():
            item = self._inbox.get()
            idle = False
            if item is None:
                return False
            if isinstance(item, Sequence):
                self._scheduler.add(item)
            else:
                item()
        return True

    def _drop_cancelled(self) -> None:
        for sequence in [*self._scheduler.running, *self._scheduler.waiting]:
            if sequence.is_cancelled:
                self._end(sequence, Output(finish_reason="cancelled"))

    def _step(self) -> None:
        works = self._scheduler.plan()
        if not works:
            return
        scores = self._backend.step(works, works[0].sequence.request.adapter)
        for work in works:
            self._scheduler.done(work)
        found = [
            (work.sequence, scores_V)
            for work, scores_V in zip(works, scores, strict=True)
            if scores_V is not None
        ]
        for (sequence, _), chosen in zip(found, self._choose(found), strict=True):
            self._append(sequence, *chosen)

    def _choose(self, found: list[tuple[Sequence, torch.Tensor]]) -> list[tuple[int, float]]:
        """The next id of every sequence and its log-probability."""
        if not found:
            return []
        rows = [_row(sequence) for sequence, _ in found]
        chosen = choose_rows(torch.stack([scores_V for _, scores_V in found]), rows)
        return [(each.id, each.logprob) for each in chosen]

    def _append(self, sequence: Sequence, token_id: int, logprob: float) -> None:
        """Hand out the next id, and end the request where it ends."""
        request = sequence.request
        if token_id in request.end_ids:
            self._end(sequence, Output(finish_reason="stop", end=(token_id, logprob)))
            return
        sequence.ids.append(token_id)
        is_last = sequence.num_generated >= request.sampling.max_tokens
        reason: FinishReason | None = "length" if is_last else None
        output = Output(ids=(token_id,), logprobs=(logprob,), finish_reason=reason)
        if is_last:
            self._end(sequence, output)
        elif _hand_out(sequence, output):
            self._end(sequence, None)

    def _end(self, sequence: Sequence, output: Output | None) -> None:
        self._scheduler.remove(sequence)
        with self._lock:
            self._num_open -= 1
        if output is not None:
            _hand_out(sequence, output)


def _hand_out(sequence: Sequence, output: Output) -> bool:
    """Call the sink; True when the request is to end. A sink that raises ends its own request alone."""
    try:
        return sequence.sink(output)
    except Exception:
        logger.exception("The sink of a request failed, so the request is dropped; the others go on.")
        return True


def _row(sequence: Sequence) -> Row:
    """What the choice of a sequence's next id depends on."""
    prompt, sampling = sequence.request.ids, sequence.request.sampling
    return Row(
        sampling=sampling, seed=sequence.seed, position=len(sequence.ids), num_generated=sequence.num_generated,
        seen=Seen(prompt).plus(sequence.ids[len(prompt) :]), end_ids=sequence.request.end_ids,
    )  # fmt: skip
