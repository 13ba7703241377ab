"""The engine in a process of its own: `python -m mainspring.infer.worker DESCRIPTOR`, started by process.py.

It ends when its owner does, because then the pipe is closed.
"""

import gc
import signal
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from mainspring import device
from mainspring.infer import wire
from mainspring.infer.base import AnyTicket
from mainspring.infer.host import Host
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.kernels import probe
from mainspring.infer.request import Output, OutputSink
from mainspring.models.model import Model


class Worker:
    """Reads what the owner wants and passes outputs back."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # the engine's thread and the reading one both send
        self._open: dict[int, AnyTicket] = {}
        self._given: list[wire.Piece] = []  # by the step that is under way
        start = wire.Start.model_validate_json(connection.recv_bytes())

        def plan(model: Model) -> KernelPlan:
            return start.plan or probe(model, device.describe(), start.config.products)

        self._host = Host(start.folder, start.reference, plan, start.config)
        engine = self._host.engine
        engine.after_step = self._pass_on
        ready = wire.Ready(
            backend_name=engine.backend_name, fingerprint=engine.fingerprint, is_exact=engine.is_exact,
            context=engine.context, plan=self._host.plan,
        )  # fmt: skip
        connection.send_bytes(ready.model_dump_json().encode())

    def run(self) -> None:
        decoder = msgspec.msgpack.Decoder(wire.Told)
        while True:
            try:
                message = decoder.decode(self._connection.recv_bytes())
            except (EOFError, OSError):
                return
            if isinstance(message, wire.Cancel):
                ticket = self._open.get(message.number)
                if ticket is not None:
                    ticket.cancel()
            elif isinstance(message, wire.Adapter):  # takes a while, in which others are answered
                threading.Thread(target=self._answer_or_refuse, args=(message,), daemon=True).start()
            else:
                self._answer_or_refuse(message)

    def close(self) -> None:
        self._host.close()

    def _answer_or_refuse(self, message: wire.Submit | wire.Adapter | wire.AskStats) -> None:
        try:
            self._answer(message)
        except Exception as error:  # noqa: BLE001 - the caller is at the other end
            self._send(wire.refusal(message.call, error))

    def _answer(self, message: wire.Submit | wire.Adapter | wire.AskStats) -> None:
        stats = None
        if isinstance(message, wire.Submit):
            self._submit(message)
            return
        if isinstance(message, wire.AskStats):
            stats = self._host.engine.stats()
        elif message.folder is not None:
            self._host.load_adapter(message.reference, Path(message.folder))
        else:
            self._host.drop_adapter(message.reference)
        self._send(wire.Done(call=message.call, stats=stats))

    def _submit(self, message: wire.Submit) -> None:
        is_told = threading.Event()
        tickets = self._host.engine.submit_all(
            message.requests, [self._sink(each, is_told) for each in message.numbers]
        )
        self._open.update(zip(message.numbers, tickets, strict=True))
        self._send(wire.Done(call=message.call))
        is_told.set()

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
        if not self._host.engine.is_alive():
            wire.shut(self._connection)  # so that run() ends, and the owner starts another

    def _send(self, message: wire.Said) -> None:
        with self._lock:
            try:
                self._connection.send_bytes(wire.encode(message))
            except OSError:
                pass  # the owner is gone; run() hears of it as well


def main() -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl+C is the owner's to hear; it lets answers finish first
    try:
        worker = Worker(Connection(int(sys.argv[1])))
    except (EOFError, ConnectionError):
        return  # the owner ended before it needed an engine
    gc.freeze()  # what has been loaded stays; looking through it again and again costs a step's hundredth part
    worker.run()
    worker.close()


if __name__ == "__main__":
    main()
