"""A child process that builds a dataset and is killed while it does so: python fakes_killed_build.py ARGUMENTS."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fakes_build  # noqa: F401 - registers the rules and the feed
from mainspring.cli import main

TESTS = Path(__file__).parent


def start(*arguments: object) -> subprocess.Popen:
    """`mainspring ARGUMENTS` with the rules and the feed of the tests, in a process group of its own."""
    path = os.pathsep.join([str(TESTS), *sys.path])
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, start_new_session=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill_after(child: subprocess.Popen, seconds: float, *, with_workers: bool) -> bool:
    """SIGKILL after a time; False if it was done before that."""
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL) if with_workers else child.kill()
        child.wait()
        return True
    return False


def wait_for(is_so, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


if __name__ == "__main__":
    # Who starts tests in the background may have told them, and so this, to ignore Ctrl+C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["mainspring", *sys.argv[1:]]
    main()
