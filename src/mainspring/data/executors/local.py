"""Processes of this machine. A pool of its own, because the library's does not say whose task a dead one had."""

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from mainspring.data.executors.base import Answer, attempt, died
from mainspring.errors import MainspringError

T = TypeVar("T")
R = TypeVar("R")

END_S = 5.0


class LocalExecutor:
    """As many processes as there are processors, or `workers`; with one, this process does the work.

    The processes stay for the next call of map, unless this one did not come to its end, or they are told to
    rest.
    """

    def __init__(self, workers: int = 0) -> None:
        self.num_workers = workers or len(os.sched_getaffinity(0))
        self._workers: list[_Worker] = []

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Generator[tuple[int, R]]:
        num_workers = min(self.num_workers, len(tasks))
        if num_workers > 1:
            yield from self._map(function, tasks, num_workers)
            return
        for index, task in enumerate(tasks):
            yield index, attempt(function, task).get()

    def _map(
        self, function: Callable[[T], R], tasks: Sequence[T], num_workers: int
    ) -> Generator[tuple[int, R]]:
        waiting, packed, is_done = iter(enumerate(tasks)), pickle.dumps(function), False
        try:
            while len(self._workers) < num_workers:
                self._workers.append(_Worker())
            for worker in self._workers[:num_workers]:
                worker.give(next(waiting, None), packed)
            while busy := {worker.pipe: worker for worker in self._workers if worker.job is not None}:
                for pipe in wait(list(busy)):
                    worker = busy[pipe]  # type: ignore[index]
                    index, answer = worker.take()
                    worker.give(next(waiting, None))
                    yield index, answer.get()
            is_done = True
        finally:
            if not is_done:
                self.close()

    def rest(self) -> None:
        self.close()

    def close(self) -> None:
        """End all processes: idle ones by themselves, others at once."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join()
        self._workers = []


class _Worker:
    """A child process and the job it has now."""

    def __init__(self) -> None:
        methods = multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        self.pipe, theirs = context.Pipe()
        self.job: tuple[int, Any] | None = None
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe ends with the process

    def give(self, job: tuple[int, Any] | None, function: bytes | None = None) -> None:
        """Hand over a job, after the function that it and those behind it are for."""
        self.job = job
        if job is None:
            return
        try:
            if function is not None:
                self.pipe.send(function)
            self.pipe.send((job[1],))
        except OSError:
            raise self._death() from None

    def take(self) -> tuple[int, Answer]:
        assert self.job is not None, "only who has a job answers"
        try:
            return self.job[0], self.pipe.recv()
        except (EOFError, OSError):
            raise self._death() from None

    def stop(self) -> None:
        self.pipe.close()
        if self.job is not None:
            self._process.terminate()

    def join(self) -> None:
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _death(self) -> MainspringError:
        assert self.job is not None, "only who has a job can fail at it"
        self._process.join(END_S)
        return died(self.job[1], _describe(self._process.exitcode))


def _describe(code: int | None) -> str:
    if code is None:
        return "stopped answering"
    if code == -signal.SIGKILL:
        return "was killed by SIGKILL, which is what happens when the memory is used up"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}; why stands above"


def _serve(pipe: Connection) -> None:
    """What a child does until its parent is gone: bytes are a function, a tuple holds a task for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the parent's to handle
    function: Any = None
    while True:
        try:
            told = pipe.recv()
            if isinstance(told, bytes):
                function = pickle.loads(told)  # noqa: S301 - our own parent's
            else:
                pipe.send(attempt(function, told[0]))
        except (EOFError, OSError):  # the parent has ended
            return
