"""Processes of this machine. A pool of its own, because the library's does not say whose task a dead one had."""

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from mainspring.data.executors.base import Answer, attempt, died

T = TypeVar("T")
R = TypeVar("R")

END_S = 5.0


class LocalExecutor:
    """As many processes as there are processors, or `workers`; with one, this process does the work."""

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[tuple[int, R]]:
        workers = min(self.workers, len(tasks))
        if workers > 1:
            yield from _pool(function, tasks, workers)
            return
        for index, task in enumerate(tasks):
            yield index, attempt(function, task).get()

    def close(self) -> None:
        """Nothing stays open between two calls of map."""


def _pool(function: Callable[[T], R], tasks: Sequence[T], num_workers: int) -> Iterator[tuple[int, R]]:
    waiting = iter(enumerate(tasks))
    packed = pickle.dumps(function)
    workers: list[_Worker] = []
    try:
        for _ in range(num_workers):
            workers.append(_Worker(packed))
            workers[-1].give(next(waiting, None))
        while busy := {worker.pipe: worker for worker in workers if worker.job is not None}:
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                index, answer = worker.take()
                worker.give(next(waiting, None))
                yield index, answer.get()
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join()


class _Worker:
    """A child process and the job it has now."""

    def __init__(self, function: bytes) -> None:
        methods = multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        self.pipe, theirs = context.Pipe()
        self.job: tuple[int, Any] | None = None
        self._process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        self._process.start()
        theirs.close()  # so that the pipe ends with the process

    def give(self, job: tuple[int, Any] | None) -> None:
        self.job = job
        if job is None:
            return
        try:
            self.pipe.send(job[1])
        except OSError:
            raise self._death() from None

    def take(self) -> tuple[int, Answer]:
        assert self.job is not None, "only who has a job answers"
        try:
            return self.job[0], self.pipe.recv()
        except (EOFError, OSError):
            raise self._death() from None

    def stop(self) -> None:
        """Let an idle one end by itself; end one that works."""
        self.pipe.close()
        if self.job is not None:
            self._process.terminate()

    def join(self) -> None:
        self._process.join(END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _death(self) -> Exception:
        self._process.join(END_S)
        assert self.job is not None, "only who has a job can fail at it"
        return died(self.job[1], _describe(self._process.exitcode))


def _describe(code: int | None) -> str:
    if code is None:
        return "stopped answering"
    if code == -signal.SIGKILL:
        return "was killed by SIGKILL, which is what happens when the memory is used up"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}; why stands above"


def _serve(pipe: Connection, packed: bytes) -> None:
    """What a child does until its parent is gone; Ctrl+C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    function = pickle.loads(packed)  # noqa: S301 - our own parent's
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        answer = attempt(function, task)
        try:
            pipe.send(answer)
        except OSError:  # the parent was killed
            return
