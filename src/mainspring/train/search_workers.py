"""Several processes on one study; a killed one is replaced, and what it tried is tried again."""

import multiprocessing
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from mainspring.errors import MainspringError
from mainspring.progress import say
from mainspring.train.search import open_study, work
from mainspring.train.search_settings import SearchSettings, Trial


def run_workers(settings: SearchSettings, trial: Trial, folder: Path, workers: int) -> None:
    """Try until there are enough trials or the time is over.

    Raises:
        MainspringError: only failures, or workers that do not even begin.

    """
    until = time.time() + settings.max_minutes * 60 if settings.max_minutes else float("inf")
    open_study(settings, folder)
    if workers == 1:
        work(settings, trial, folder, partial(_is_time, until))
        return
    start = partial(_start, _context(), (settings, trial, folder, until))
    running = {start() for _ in range(workers)}
    num_killed, max_killed = 0, 3 * settings.trials
    try:
        while running:
            for process in _ended(running):
                running.remove(process)
                if not process.exitcode:
                    continue
                if process.exitcode > 0 or (num_killed := num_killed + 1) > max_killed:
                    raise MainspringError(
                        f"A worker ended with exit code {process.exitcode}; its error stands above."
                    )
                say(f"worker {process.pid} was killed by signal {-process.exitcode}; another one begins")
                running.add(start())
    finally:
        for process in running:
            process.terminate()
            process.join()


def _context() -> Any:
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


def _start(context: Any, arguments: tuple[Any, ...]) -> Any:
    process = context.Process(target=_worker, args=arguments)
    process.start()
    return process


def _ended(running: set[Any]) -> list[Any]:
    wait([process.sentinel for process in running])
    ended = [process for process in running if not process.is_alive()]
    for process in ended:
        process.join()
    return ended


def _worker(settings: SearchSettings, trial: Trial, folder: Path, until: float) -> None:
    """What a worker process does; it ends with the search that began it, also when that is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"

    def go_on() -> bool:
        return _is_time(until) and parent.is_alive()

    try:
        work(settings, _Watched(trial, parent.is_alive), folder, go_on)
    except MainspringError as error:
        say(f"error: {error}")
        raise SystemExit(1) from None


class _Watched:
    """A trial that ends with the process that wanted it."""

    def __init__(self, trial: Trial, is_wanted: Callable[[], bool]) -> None:
        self._trial, self._is_wanted = trial, is_wanted

    def __call__(self, values: Any, report: Callable[[int, float], None], folder: Path) -> Any:
        def told(step: int, value: float) -> None:
            if not self._is_wanted():
                raise SystemExit(1)
            report(step, value)

        return self._trial(values, told, folder)


def _is_time(until: float) -> bool:
    return time.time() < until
