"""Documents read in a process of their own, so that a hostile file costs a limit and not the run.

    parse -> Job -> worker process (limits of the system on its time and memory) -> Reply -> parse

A worker is kept for the next document. One that dies, hangs or runs out of memory is replaced; since what it
read before may be to blame for the memory, the document then gets one more try in a worker without a past.
Workers are plain subprocesses, because daemonic processes, which pools of workers are, may not have children
of the multiprocessing kind.
"""

import atexit
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing import Pipe

import msgspec

from mainspring.data.parse.base import Parsed, Raw
from mainspring.data.parse.limits import ParseLimits
from mainspring.errors import DocumentError, MainspringError

CLOCK_FACTOR = 5  # a machine may be busy: a second of processor time may take five by the clock
START_S = 30
MAX_DOCUMENTS = 500  # then a worker makes room for a fresh one: what libraries leak stays small


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A document on its way to a worker."""

    format: str
    data: bytes
    name: str
    limits: dict[str, int]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it: `parsed`, or the `reason` it is refused for."""

    parsed: Parsed | None = None
    reason: str = ""
    is_out_of_memory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Death:
    """How a worker ended; `code` is that of its process, None where it had to be killed."""

    code: int | None
    said: str


class _Worker:
    """A process that reads one document after the other."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        paths = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [sys.executable, "-m", "mainspring.data.parse.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.errors,
                env={**os.environ, "PYTHONPATH": paths},
                start_new_session=True,  # an interrupt is for the program, which ends its workers itself
            )
        self.num_read = 0

    def ask(self, job: bytes, wait_s: float) -> Reply | _Death:
        """The worker's reply; it is gone where there is none."""
        self.num_read += 1
        try:
            self.connection.send_bytes(job)
            if self.connection.poll(wait_s):
                return msgspec.msgpack.decode(self.connection.recv_bytes(), type=Reply)
            code = None
        except (EOFError, OSError):
            code = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read()[-500:].decode("utf-8", "replace").strip()
        self.end()
        return _Death(code=code, said=said)

    def end(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()
        self.errors.close()

    def forget(self) -> None:
        """Leave the process to the one that this one was forked from."""
        self.connection.close()
        self.process.returncode = 0


_idle: list[_Worker] = []


def read_contained(raw: Raw, format_name: str) -> Parsed:
    """Read a document in a worker.

    Raises:
        DocumentError: what the format's reader says, or the limit that the document broke.
        MainspringError: a worker cannot be started.

    """
    job = msgspec.msgpack.encode(
        Job(format=format_name, data=raw.data, name=raw.name, limits=raw.limits.model_dump())
    )
    wait_s = START_S + CLOCK_FACTOR * raw.limits.seconds
    worker = _take()
    is_fresh = worker.num_read == 0
    outcome = worker.ask(job, wait_s)
    if not is_fresh and _may_be_the_past(outcome):
        if isinstance(outcome, Reply):
            worker.end()
        worker = _Worker()
        outcome = worker.ask(job, wait_s)
    if isinstance(outcome, _Death):
        raise _failure(raw.name, raw.limits, outcome)
    if outcome.is_out_of_memory or worker.num_read >= MAX_DOCUMENTS:
        worker.end()
    else:
        _idle.append(worker)
    if outcome.parsed is None:
        raise DocumentError(outcome.reason)
    return outcome.parsed


def _take() -> _Worker:
    try:
        return _idle.pop()
    except IndexError:
        return _Worker()


def _may_be_the_past(outcome: Reply | _Death) -> bool:
    """Whether another try may end otherwise: without memory, or ended by something else than the clock."""
    if isinstance(outcome, Reply):
        return outcome.is_out_of_memory
    return outcome.code not in (None, -signal.SIGXCPU)


def _failure(name: str, limits: ParseLimits, death: _Death) -> MainspringError:
    if death.code == -signal.SIGXCPU:
        return DocumentError(
            f"{name} takes more than {limits.seconds} s of processor time to read. Leave it out, or raise "
            "the limit `seconds`."
        )
    if death.code is None:
        return DocumentError(
            f"{name} was not read within {START_S + CLOCK_FACTOR * limits.seconds} s. Leave it out, or raise "
            "the limit `seconds`."
        )
    if death.code < 0:
        ended = signal.Signals(-death.code).name
        return DocumentError(
            f"{name} broke its reader ({ended}): it is damaged, made to do so, or needs more than "
            f"{limits.memory_bytes // 1_000_000:,} MB of memory. Leave it out, or raise the limit `memory_bytes`."
        )
    return MainspringError(
        f"The process that reads documents ended with code {death.code} while it had {name}: {death.said}"
    )


def _forget_all() -> None:
    while _idle:
        _idle.pop().forget()


def _end_all() -> None:
    while _idle:
        _idle.pop().end()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forget_all)
