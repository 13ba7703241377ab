"""The engine in a process of its own: `python -m mainspring.infer.worker DESCRIPTOR`, started by process.py.

It ends when its owner does, because then the pipe is closed.
"""

import gc
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from mainspring.infer import wire
from mainspring.infer.base import AnyTicket
from mainspring.infer.local_engine import LocalEngine
from mainspring.infer.request import Output, OutputSink


class Worker:
    """Reads what the owner wants and passes outputs back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # the engine's thread and the reading one both send
        self._open: dict[int, AnyTicket] = {}
        self._given: list[wire.Piece] = []  # by the step that is under way
        start = wire.Start.model_validate_json(connection.recv_bytes())
        self._engine = engine = LocalEngine(start.folder, start.reference, start.plan, start.config)
        engine.after_step = self._pass_on
        ready = wire.Ready.model_validate(engine, from_attributes=True)
        connection.send_bytes(ready.model_dump_json().encode())

    def run(self) -> None:
        """Answer until the owner is gone."""
        for call, message in wire.heard(self._connection, wire.TOLD):
            if isinstance(message, wire.Cancel):
                if (ticket := self._open.get(message.number)) is not None:
                    ticket.cancel()
            elif isinstance(message, wire.Adapter):  # takes a while, in which others are answered
                threading.Thread(target=self._answer, args=(call, message), daemon=True).start()
            else:
                self._answer(call, message)
        self._engine.close()

    def _answer(self, call: int, message: wire.Question) -> None:
        is_told, stats = threading.Event(), None
        try:
            match message:
                case wire.Submit(numbers=numbers, requests=requests):
                    sinks = [self._sink(number, is_told) for number in numbers]
                    self._open.update(zip(numbers, self._engine.submit_all(requests, sinks), strict=True))
                case wire.AskStats():
                    stats = self._engine.stats()
                case wire.Adapter(folder=str(folder)):
                    self._engine.load_adapter(message.reference, Path(folder))
                case wire.Adapter():
                    self._engine.drop_adapter(message.reference)
            self._send(wire.Done(call=call, stats=stats))
            is_told.set()
        except Exception as error:  # noqa: BLE001 - the caller is at the other end
            self._send(wire.refusal(call, error))

    def _sink(self, number: int, is_told: threading.Event) -> OutputSink:
        def sink(output: Output) -> bool:
            is_told.wait()  # the owner takes nothing of a request before it hears that it was taken
            if output.finish_reason is not None or output.error is not None:
                del self._open[number]
            self._given.append(wire.Piece(number=number, output=output))
            return False

        return sink

    def _pass_on(self) -> None:
        """Called from the engine's thread, as the sinks are."""
        if self._given:
            self._send(wire.Given(pieces=self._given))
            self._given.clear()
        if not self._engine.is_alive():
            wire.shut(self._connection)  # so that run() ends, and the owner starts another

    def _send(self, message: wire.Said) -> None:
        with self._lock, suppress(OSError):  # the owner is gone; run() hears of it as well
            self._connection.send_bytes(wire.encode(message))


def main() -> None:
    # Ctrl+C is the owner's to hear; it lets answers finish first
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        worker = Worker(Connection(int(sys.argv[1])))
    except (EOFError, ConnectionError):
        return  # the owner ended before it needed an engine
    gc.freeze()  # what has been loaded stays; looking through it again and again costs a step's hundredth part
    worker.run()


if __name__ == "__main__":
    main()
