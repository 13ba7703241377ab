"""A child process that prepares a feed, and is killed while it does so."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CHILD = """
import json, sys
from pathlib import Path
from mainspring.data.feeds.base import make
make(json.loads(sys.argv[1])).prepare(Path(sys.argv[2]))
"""


def prepare_and_kill(settings: dict, folder: Path, is_time: Callable[[], bool]) -> bool:
    """Start `prepare` in a process of its own and kill it when `is_time`; False if it ended before that."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(settings), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        while child.poll() is None and not is_time():
            time.sleep(0.001)
    finally:
        was_running = child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
    return was_running
