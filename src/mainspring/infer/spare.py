"""The start of an engine's process, before it is known what it will do: what it imports takes longer than all else."""

import socket
import subprocess
import sys
from multiprocessing.connection import Connection

Started = tuple[subprocess.Popen[bytes], Connection]
_spare: list[Started] = []


def prepare() -> None:
    """Start one that `take` will give; it ends with this process, used or not."""
    _spare.append(_start())


def take() -> Started:
    """A process that waits for what to load, and the pipe to it: the one that was prepared, or another."""
    started = _spare.pop() if _spare else _start()
    return started if started[0].poll() is None else _start()


def _start() -> Started:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "mainspring.infer.worker", str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()])  # noqa: S603 - our own module
    theirs.close()
    return process, Connection(ours.detach())
