"""Functions for executors; they stand in a module of their own, because workers import them by name."""

import os
import signal
import time
from pathlib import Path

from mainspring.errors import ConfigError, MissingExtraError


def square(number: int) -> int:
    return number * number


def slow_square(number: int) -> int:
    time.sleep(0.02 * (number % 3))
    return number * number


def process(_: int) -> int:
    return os.getpid()


def slow_process(_: int) -> int:
    time.sleep(0.2)
    return os.getpid()


def divide(number: int) -> float:
    return 6 / number


def refuse(number: int) -> int:
    if number == 2:
        raise ConfigError("two is not wanted. Give another.")
    return number


def need(_: int) -> None:
    raise MissingExtraError("nothing", "data", "This")


class DieAt:
    """Kills its own process at one task, as the kernel does for want of memory."""

    def __init__(self, fatal: int) -> None:
        self.fatal = fatal

    def __call__(self, number: int) -> int:
        if number == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


class Leave:
    """Leaves a file for each task that it was done for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, number: int) -> int:
        (self.folder / str(number)).write_text(str(os.getpid()))
        time.sleep(0.05)
        return number
