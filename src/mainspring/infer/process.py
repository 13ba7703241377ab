"""The engine in another process, seen from its owner: the same face as `Engine`.

A process that dies is started again. Where the engine is exact, requests that were under way go on from the ids that
had been given, and get the ids that they would have got; else they end with an error. Nothing waits for ever.
"""

import itertools
import logging
import queue
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from mainspring.errors import MainspringError
from mainspring.infer import spare, wire
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.request import EngineConfig, Output, OutputSink, Request, hand_out
from mainspring.infer.stats import EngineStats

START_S = 300
CALL_S = 60
STATS_S = 2
MAX_DEATHS, DEATHS_IN_S = 5, 60
logger = logging.getLogger(__name__)


class _DiedError(MainspringError):
    """The process died before it had answered."""


class RemoteTicket:
    """A request in the other process; see base.AnyTicket. `launch`: the newest start that took it; 0: none has."""

    def __init__(self, owner: "EngineProcess", number: int, request: Request, sink: OutputSink) -> None:
        self._owner, self.number, self.request, self.sink = owner, number, request, sink
        self.generated: list[int] = list(request.generated)
        self.launch = 0
        self.since = time.monotonic()
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self._owner.cancel(self.number)


@dataclass(frozen=True, slots=True)
class _Call:
    """What waits for an answer, and the tickets that are taken by it."""

    done: Future[wire.Done]
    tickets: Sequence[RemoteTicket]


class EngineProcess:
    """Starts the process and waits until its model is loaded."""

    def __init__(self, folder: Path, reference: str, config: EngineConfig, plan: KernelPlan | None) -> None:
        self._start = wire.Start(folder=folder, reference=reference, config=config, plan=plan)
        self._numbers = itertools.count(1)
        self._tickets: dict[int, RemoteTicket] = {}
        self._calls: dict[int, _Call] = {}
        self._adapters: dict[str, Path] = {}
        self._deaths: list[float] = []
        self._lock = threading.Condition()  # told of when the process is up
        self._is_up = self._is_closing = False
        self._failure = ""
        self._launches = self._living = 0  # starts so far, and the one that lives, 0 between two
        self._launch()
        self._is_up = True
        threading.Thread(target=self._read, name="engine-reader", daemon=True).start()

    def submit(self, request: Request, sink: OutputSink) -> RemoteTicket:
        return self.submit_all([request], [sink])[0]

    def submit_all(self, requests: Sequence[Request], sinks: Sequence[OutputSink]) -> list[RemoteTicket]:
        """See Engine.submit_all; the sinks are called from a thread of this process."""
        tickets = [
            RemoteTicket(self, next(self._numbers), _with_seed(request), sink)
            for request, sink in zip(requests, sinks, strict=True)
        ]
        with self._lock:
            self._tickets.update({ticket.number: ticket for ticket in tickets})
        numbers, wanted = tuple(each.number for each in tickets), tuple(each.request for each in tickets)
        try:
            self._call(lambda call: wire.Submit(call=call, numbers=numbers, requests=wanted), tickets=tickets)
        except BaseException:
            with self._lock:
                for number in numbers:
                    self._tickets.pop(number, None)
            for number in numbers:
                self.cancel(number)  # it may have been taken, and the answer did not come in time
            raise
        return tickets

    def load_adapter(self, reference: str, folder: Path) -> None:
        if reference not in self._adapters:
            self._call(lambda call: wire.Adapter(call=call, reference=reference, folder=str(folder)))
            self._adapters[reference] = folder

    def drop_adapter(self, reference: str) -> None:
        if self._adapters.pop(reference, None) is not None:
            self._call(lambda call: wire.Adapter(call=call, reference=reference))

    def stats(self) -> EngineStats:
        """The worker's figures.

        Raises:
            MainspringError: it does not answer: it is down, starting, or wedged.

        """
        done = self._call(lambda call: wire.AskStats(call=call), limit_s=STATS_S)
        assert done.stats is not None
        return done.stats

    def cancel(self, number: int) -> None:
        """Let the worker know; one that is being started again is not asked for what was called off."""
        with self._lock:
            if self._is_up:
                self._outbox.put(wire.encode(wire.Cancel(number=number)))

    def is_alive(self) -> bool:
        return self._is_up and not self._failure

    def close(self) -> None:
        """End the process; what is open is cancelled."""
        self._is_closing = True
        wire.shut(self._connection)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _launch(self) -> None:
        self._process, self._connection = spare.take()
        if self._is_closing:  # close() has seen to the one before
            self._process.kill()
        try:
            self._connection.send_bytes(self._start.model_dump_json().encode())
            if not self._connection.poll(START_S):
                self._process.kill()
                raise MainspringError(f"The engine's process has not loaded its model within {START_S} s.")
            ready = wire.Ready.model_validate_json(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            code = self._process.wait()
            raise MainspringError(
                f"The engine's process ended with code {code} before it was ready; what it wrote stands above."
            ) from error
        self.backend_name, self.fingerprint = ready.backend_name, ready.fingerprint
        self.is_exact, self.context, self.plan = ready.is_exact, ready.context, ready.plan
        self._start = self._start.model_copy(update={"plan": ready.plan})
        outbox = queue.SimpleQueue[bytes | None]()
        threading.Thread(
            target=_write, args=(self._connection, outbox), name="engine-writer", daemon=True
        ).start()
        with self._lock:
            self._outbox = outbox
            self._launches += 1
            self._living = self._launches

    def _call(
        self, message: Callable[[int], wire.Told], *, tickets: Sequence[RemoteTicket] = (), launch: int = 0,
        limit_s: float = CALL_S,
    ) -> wire.Done:  # fmt: skip
        """Tell the worker and wait for its answer; `launch`: the only start that is to hear of it, 0 for any."""
        call, future = next(self._numbers), Future[wire.Done]()
        deadline = time.monotonic() + limit_s
        with self._lock:
            self._lock.wait_for(lambda: launch or self._is_up or self._failure, limit_s)
            if not (launch or self._is_up):
                raise MainspringError(
                    f"The engine is not up: {self._failure or 'its process is being started again'}."
                )
            if launch and launch != self._living:
                raise _DiedError("The engine's process died; a later start goes on with this.")
            self._calls[call] = _Call(future, tickets)
            self._outbox.put(wire.encode(message(call)))
        try:
            done = future.result(max(deadline - time.monotonic(), 0.01))
        except TimeoutError as error:
            raise MainspringError(f"The engine's process has not answered for {limit_s:g} s.") from error
        finally:
            with self._lock:
                self._calls.pop(call, None)
        done.check()
        return done

    def _read(self) -> None:
        decoder = msgspec.msgpack.Decoder(wire.Said)
        while True:
            try:
                message = decoder.decode(self._connection.recv_bytes())
            except (EOFError, OSError):
                if not self._revive():
                    return
                continue
            if isinstance(message, wire.Given):
                for piece in message.pieces:
                    self._pass_on(piece)
            elif isinstance(message, wire.Done):
                self._note(message)

    def _note(self, done: wire.Done) -> None:
        """An answer; from here on its tickets are gone on with should the process die."""
        call = self._calls.get(done.call)
        if call is None:
            return
        if not done.kind:
            for ticket in call.tickets:
                ticket.launch = self._launches
        call.done.set_result(done)

    def _pass_on(self, given: wire.Piece) -> None:
        ticket, output = self._tickets.get(given.number), given.output
        if ticket is None:
            return
        ticket.generated += output.ids
        if output.finish_reason is not None or output.error is not None:
            self._tickets.pop(given.number, None)
        if hand_out(ticket.sink, output) and self._tickets.pop(given.number, None) is not None:
            self.cancel(given.number)

    def _revive(self) -> bool:
        """After the process died: start another and go on; False where that is of no use."""
        with self._lock:
            self._is_up, self._living = False, 0
            self._outbox.put(None)
            calls = list(self._calls.values())
        for call in calls:
            if not call.done.done():
                call.done.set_exception(
                    _DiedError("The engine's process died; it is started again. Ask again.")
                )
        why = "" if self._is_closing else f"code {self._process.wait()}"
        while not self._is_closing and self._may_live():
            logger.error("The engine's process died (%s); it is started again.", why)
            try:
                self._launch()
            except MainspringError as error:
                why = str(error)
                continue
            threading.Thread(
                target=self._resume, args=(self._launches,), name="engine-resume", daemon=True
            ).start()
            return True
        died = f"its process died {len(self._deaths)} times within {DEATHS_IN_S} s, at last with {why}"
        self._give_up("it has been closed" if self._is_closing else died)
        return False

    def _may_live(self) -> bool:
        """Note a death; False where there were too many."""
        now = time.monotonic()
        self._deaths = [each for each in self._deaths if now - each < DEATHS_IN_S] + [now]
        return len(self._deaths) <= MAX_DEATHS

    def _resume(self, launch: int) -> None:
        """Load the adapters again, let others ask, and go on with what an earlier start had taken.

        Should this start die as well, that is for the next one to do.
        """
        try:
            for reference, folder in list(self._adapters.items()):
                self._reload(reference, folder, launch)
            with self._lock:
                if launch == self._living:
                    self._is_up = True
                    self._lock.notify_all()
                tickets = [each for each in self._tickets.values() if 0 < each.launch < launch]
            for ticket in tickets:
                self._go_on(ticket, launch)
        except _DiedError:
            return

    def _reload(self, reference: str, folder: Path, launch: int) -> None:
        try:
            self._call(
                lambda call: wire.Adapter(call=call, reference=reference, folder=str(folder)), launch=launch
            )
        except _DiedError:
            raise
        except MainspringError:  # who asks with it is told that it is not loaded
            logger.exception("The adapter %s could not be loaded again.", reference)
            self._adapters.pop(reference, None)

    def _go_on(self, ticket: RemoteTicket, launch: int) -> None:
        limit_s = ticket.request.deadline_s
        left_s = None if limit_s is None else max(limit_s - (time.monotonic() - ticket.since), 0)
        rest = msgspec.structs.replace(ticket.request, generated=tuple(ticket.generated), deadline_s=left_s)
        numbers = (ticket.number,)
        if ticket.is_cancelled:
            self._close(ticket, Output(finish_reason="cancelled"))
            return
        if not self.is_exact or (rest.sampling.prompt_logprobs is not None and not rest.generated):
            why = "The engine's process died, and this reply cannot be gone on with. Ask again."
            self._close(ticket, Output(error=why))
            return
        try:
            self._call(
                lambda call: wire.Submit(call=call, numbers=numbers, requests=(rest,)),
                tickets=[ticket],
                launch=launch,
            )
        except _DiedError:
            raise
        except MainspringError as error:
            self._close(ticket, Output.failed(error))
        if ticket.is_cancelled:  # meanwhile
            self.cancel(ticket.number)

    def _close(self, ticket: RemoteTicket, output: Output) -> None:
        with self._lock:
            self._tickets.pop(ticket.number, None)
        hand_out(ticket.sink, output)

    def _give_up(self, why: str) -> None:
        failed = Output(error=f"The engine has failed: {why}.")
        output = Output(finish_reason="cancelled") if self._is_closing else failed
        with self._lock:
            self._failure = why
            self._lock.notify_all()
            tickets, self._tickets = list(self._tickets.values()), {}
        for ticket in tickets:
            hand_out(ticket.sink, output)


def _write(connection: Connection, outbox: queue.SimpleQueue[bytes | None]) -> None:
    """Send what is told, in a thread of its own: a process that does not read keeps nobody else waiting."""
    try:
        while (message := outbox.get()) is not None:
            connection.send_bytes(message)
    except OSError:
        return  # the reader hears of it, and deals with what is open


def _with_seed(request: Request) -> Request:
    if request.sampling.seed is not None:
        return request
    seeded = msgspec.structs.replace(request.sampling, seed=secrets.randbits(63))
    return msgspec.structs.replace(request, sampling=seeded)
