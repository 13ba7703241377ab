"""The engine in another process, seen from its owner: the same face as `Engine`.

A process that dies is started again. What runs in it is exact, so requests that were under way go on from the ids that
had been given, and get the ids that they would have got; those that cannot end with an error. Nothing waits for ever.
"""

import itertools
import logging
import queue
import secrets
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import msgspec

from mainspring.errors import MainspringError
from mainspring.infer import spare, wire
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.request import EngineConfig, Output, OutputSink, Request, hand_out
from mainspring.infer.stats import EngineStats

START_S, CALL_S, STATS_S = 300, 60, 2
MAX_DEATHS, DEATHS_IN_S = 5, 60
DIED = "The engine's process died; it is started again. Ask again."
logger = logging.getLogger(__name__)


class _DiedError(MainspringError):
    """The process died before it had answered."""


class RemoteTicket:
    """A request in the other process; see base.AnyTicket."""

    def __init__(self, owner: "EngineProcess", number: int, request: Request, sink: OutputSink) -> None:
        self._owner, self.number, self.request, self.sink = owner, number, request, sink
        self.generated: list[int] = list(request.generated)
        self.since = time.monotonic()
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self._owner.cancel(self.number)


class _Call(Future[wire.Done]):
    """The answer that is to come, and the tickets that are taken by it."""

    def __init__(self, tickets: Sequence[RemoteTicket]) -> None:
        super().__init__()
        self.tickets = tickets


class _Life:
    """One start of the process: the pipe to it, and the calls that wait for its answers."""

    def __init__(self) -> None:
        self.process, self.connection = spare.take()
        self.calls: dict[int, _Call] = {}
        self._numbers = itertools.count(1)
        self.has_ended = False
        self._lock = threading.Lock()  # no call begins once it has ended
        self._outbox = queue.SimpleQueue[bytes | None]()

    def load(self, start: wire.Start) -> wire.Ready:
        """Let it load the model, and wait until it has."""
        try:
            self.connection.send_bytes(start.model_dump_json().encode())
            if not self.connection.poll(START_S):
                self.process.kill()
                raise MainspringError(f"The engine's process has not loaded its model within {START_S} s.")
            ready = wire.Ready.model_validate_json(self.connection.recv_bytes())
        except (EOFError, OSError) as error:
            code = self.process.wait()
            raise MainspringError(
                f"The engine's process ended with code {code} before it was ready; what it wrote stands above."
            ) from error
        threading.Thread(target=self._write, name="engine-writer", daemon=True).start()
        return ready

    def tell(self, message: wire.Told, call: int = 0) -> None:
        self._outbox.put(wire.encode((call, message)))

    def ask(
        self, message: wire.Question, tickets: Sequence[RemoteTicket] = (), limit_s: float = CALL_S
    ) -> wire.Done:
        """Tell it, and wait for its answer or refusal; that it does not answer in time counts as one."""
        number, call = next(self._numbers), _Call(tickets)
        with self._lock:
            if self.has_ended:
                raise _DiedError(DIED)
            self.calls[number] = call
        self.tell(message, number)
        try:
            return call.result(limit_s)
        except TimeoutError:
            late = MainspringError(f"The engine's process has not answered for {limit_s:.2g} s.")
            return wire.refusal(number, late)
        finally:
            self.calls.pop(number, None)

    def end(self) -> None:
        """After it died: nobody waits for it any more."""
        with self._lock:
            self.has_ended = True
        for call in list(self.calls.values()):
            call.set_exception(_DiedError(DIED))
        self._outbox.put(None)

    def _write(self) -> None:
        """Send what is told, in a thread of its own: a process that does not read keeps nobody else waiting."""
        with suppress(OSError):  # the reader hears of it, and deals with what is open
            for message in iter(self._outbox.get, None):
                self.connection.send_bytes(message)


class EngineProcess:
    """Starts the process and waits until its model is loaded; what it takes is what LocalEngine takes.

    Each start has a thread that reads what it says. Once it dies, that thread starts the next one and hands over what
    is open.
    """

    def __init__(self, folder: Path, reference: str, known: KernelPlan | None, config: EngineConfig) -> None:
        self._start = wire.Start(folder=folder, reference=reference, config=config, plan=known)
        self._numbers = itertools.count(1)
        self._tickets: dict[int, RemoteTicket] = {}  # those that a start has taken
        self._adapters: dict[str, Path] = {}
        self._deaths: list[float] = []
        self._lock = threading.Condition()  # told of when the process is up
        self._is_up = self._is_closing = False
        self._failure = ""
        self._resume(self._launch(), [])

    def submit_all(self, requests: Sequence[Request], sinks: Sequence[OutputSink]) -> list[RemoteTicket]:
        """See Engine.submit_all; the sinks are called from a thread of this process."""
        tickets = [
            RemoteTicket(self, next(self._numbers), _with_seed(request), sink)
            for request, sink in zip(requests, sinks, strict=True)
        ]
        numbers, wanted = tuple(each.number for each in tickets), tuple(each.request for each in tickets)
        try:
            self._ask(wire.Submit(numbers=numbers, requests=wanted), tickets)
        except BaseException:
            for ticket in tickets:  # it may have been taken, and the answer did not come in time
                self._tickets.pop(ticket.number, None)
                ticket.cancel()
            raise
        return tickets

    def load_adapter(self, reference: str, folder: Path) -> None:
        if reference not in self._adapters:
            self._ask(wire.Adapter(reference=reference, folder=str(folder)))
            self._adapters[reference] = folder

    def drop_adapter(self, reference: str) -> None:
        if self._adapters.pop(reference, None) is not None:
            self._ask(wire.Adapter(reference=reference))

    def stats(self) -> EngineStats:
        """The worker's figures.

        Raises:
            MainspringError: it does not answer: it is down, starting, or wedged.

        """
        done = self._ask(wire.AskStats(), limit_s=STATS_S)
        assert done.stats is not None
        return done.stats

    def cancel(self, number: int) -> None:
        """Let the worker know; one that is being started again is not asked for what was called off."""
        self._life.tell(wire.Cancel(number=number))

    def is_alive(self) -> bool:
        return self._is_up

    def close(self) -> None:
        """End the process; what is open is cancelled."""
        self._is_closing = True
        life = self._life
        wire.shut(life.connection)
        try:
            life.process.wait(10)
        except subprocess.TimeoutExpired:
            life.process.kill()
            life.process.wait()

    def _launch(self) -> _Life:
        self._life = life = _Life()
        if self._is_closing:  # close() has seen to the one before
            life.process.kill()
        ready = life.load(self._start)
        self.backend_name, self.fingerprint = ready.backend_name, ready.fingerprint
        self.context, self.plan = ready.context, ready.plan
        self._start = self._start.model_copy(update={"plan": ready.plan})
        threading.Thread(target=self._read, args=(life,), name="engine-reader", daemon=True).start()
        return life

    def _ask(
        self, message: wire.Question, tickets: Sequence[RemoteTicket] = (), *, limit_s: float = CALL_S
    ) -> wire.Done:
        """Wait for a process that is up, tell it, and wait for its answer."""
        deadline = time.monotonic() + limit_s
        with self._lock:
            self._lock.wait_for(lambda: self._is_up or self._failure, limit_s)
            if not self._is_up:
                raise MainspringError(
                    f"The engine is not up: {self._failure or 'its process is being started again'}."
                )
        return self._life.ask(message, tickets, max(deadline - time.monotonic(), 0.01)).checked()

    def _read(self, life: _Life) -> None:
        for message in wire.heard(life.connection, wire.SAID):
            if isinstance(message, wire.Given):
                for piece in message.pieces:
                    self._pass_on(piece)
            elif (call := life.calls.pop(message.call, None)) is not None:
                if not message.kind:  # from here on they are gone on with should the process die
                    self._tickets.update({ticket.number: ticket for ticket in call.tickets})
                call.set_result(message)
        with self._lock:  # who asks again at once waits for the next start
            life.end()
            self._is_up = False
        self._revive(list(self._tickets.values()))

    def _pass_on(self, given: wire.Piece) -> None:
        ticket, output = self._tickets.get(given.number), given.output
        if ticket is None:
            return
        ticket.generated += output.ids
        if output.finish_reason is not None or output.error is not None:
            self._tickets.pop(given.number, None)
        if hand_out(ticket.sink, output) and self._tickets.pop(given.number, None) is not None:
            self.cancel(given.number)

    def _revive(self, tickets: Sequence[RemoteTicket]) -> None:
        """After the process died: start another, where that is of use, and go on."""
        why = "" if self._is_closing else f"code {self._life.process.wait()}"
        while not self._is_closing and self._may_live():
            logger.error("The engine's process died (%s); it is started again.", why)
            try:
                life = self._launch()
            except MainspringError as error:
                why = str(error)
                continue
            with suppress(_DiedError):  # then it is for the next one to go on
                self._resume(life, tickets)
            return
        died = f"its process died {len(self._deaths)} times within {DEATHS_IN_S} s, at last with {why}"
        self._give_up("it has been closed" if self._is_closing else died)

    def _may_live(self) -> bool:
        """Note a death; False where there were too many."""
        now = time.monotonic()
        self._deaths = [each for each in self._deaths if now - each < DEATHS_IN_S] + [now]
        return len(self._deaths) <= MAX_DEATHS

    def _resume(self, life: _Life, tickets: Sequence[RemoteTicket]) -> None:
        """Load the adapters again, let others ask, and go on with what an earlier start had taken."""
        for reference, folder in list(self._adapters.items()):
            done = life.ask(wire.Adapter(reference=reference, folder=str(folder)))
            if done.kind:  # who asks with it is told that it is not loaded
                logger.error("The adapter %s could not be loaded again: %s", reference, done.error)
                self._adapters.pop(reference, None)
        with self._lock:
            if not life.has_ended:
                self._is_up = True
                self._lock.notify_all()
        for ticket in tickets:
            self._go_on(ticket, life)

    def _go_on(self, ticket: RemoteTicket, life: _Life) -> None:
        limit_s = ticket.request.deadline_s
        left_s = None if limit_s is None else max(limit_s - (time.monotonic() - ticket.since), 0)
        rest = msgspec.structs.replace(ticket.request, generated=tuple(ticket.generated), deadline_s=left_s)
        if ticket.is_cancelled:
            self._close(ticket, Output(finish_reason="cancelled"))
        elif rest.sampling.prompt_logprobs is not None and not rest.generated:
            why = "The engine's process died, and this reply cannot be gone on with. Ask again."
            self._close(ticket, Output(error=why))
        elif (done := life.ask(wire.Submit(numbers=(ticket.number,), requests=(rest,)))).kind:
            self._close(ticket, Output(error=done.error, kind=done.kind))
        elif ticket.is_cancelled:  # meanwhile
            self.cancel(ticket.number)

    def _close(self, ticket: RemoteTicket, output: Output) -> None:
        if self._tickets.pop(ticket.number, None) is not None:  # else a later start has seen to it
            hand_out(ticket.sink, output)

    def _give_up(self, why: str) -> None:
        failed = Output(error=f"The engine has failed: {why}.")
        output = Output(finish_reason="cancelled") if self._is_closing else failed
        with self._lock:
            self._failure = why
            self._lock.notify_all()
        for ticket in list(self._tickets.values()):
            self._close(ticket, output)


def _with_seed(request: Request) -> Request:
    """With a seed that is known here, so that another start would draw the same."""
    if request.sampling.seed is not None:
        return request
    seeded = msgspec.structs.replace(request.sampling, seed=secrets.randbits(63))
    return msgspec.structs.replace(request, sampling=seeded)
