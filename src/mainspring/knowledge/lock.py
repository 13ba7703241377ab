"""One writer at a time, over processes: a file lock that the kernel frees when its holder dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mainspring import progress
from mainspring.errors import BusyError

POLL_S = 0.1


@contextmanager
def hold(path: Path, what: str, wait_s: float) -> Iterator[None]:
    """Hold the lock at `path` for a block; `what` is said while another process has it.

    Raises:
        BusyError: the other process did not finish within `wait_s` seconds.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(handle, what, wait_s)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, what: str, wait_s: float) -> None:
    deadline, has_said = time.monotonic() + wait_s, False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise BusyError(
                    f"{what} is still being written by another process after {wait_s:.0f} s. "
                    "Try again when it is done."
                ) from None
        else:
            return
        if not has_said:
            progress.say(f"{what} is being written by another process; waiting up to {wait_s:.0f} s")
            has_said = True
        time.sleep(POLL_S)
