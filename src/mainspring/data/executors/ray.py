"""A Ray cluster: the same function on the same tasks, on many machines that share the workspace's file system."""

import os
import socket
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from mainspring.data.executors.base import attempt, died
from mainspring.errors import MissingExtraError, UserError

T = TypeVar("T")
R = TypeVar("R")

CONNECT_S = 5.0


class RayExecutor:
    """Ray tasks, `workers` at a time, or as many as the cluster has processors.

    A task whose machine is lost is given to another one by Ray; tasks may be done twice, so they must leave
    the same both times.
    """

    def __init__(self, workers: int = 0, address: str = "") -> None:
        self._ray = _ray()
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
            _connect(self._ray, address)
        self.num_workers = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Generator[tuple[int, R]]:
        ray = self._ray
        remote, shared = ray.remote(attempt), ray.put(function)
        waiting, running = iter(enumerate(tasks)), {}
        try:
            while True:
                while len(running) < self.num_workers and (job := next(waiting, None)) is not None:
                    running[remote.remote(shared, job[1])] = job
                if not running:
                    return
                for reference in ray.wait(list(running), num_returns=1)[0]:
                    index, task = running.pop(reference)
                    yield index, self._get(reference, task).get()
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def rest(self) -> None:
        """Idle workers are Ray's own business."""

    def close(self) -> None:
        if self._is_ours:
            self._ray.shutdown()

    def _get(self, reference: Any, task: object) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            first = str(error).strip().splitlines()[0]
            raise died(task, f"was lost ({type(error).__name__}: {first})") from error


def _connect(ray: Any, address: str) -> None:
    """Join a cluster, or start one; Ray itself would wait minutes for an address where nobody is."""
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit():
            socket.create_connection((host.removeprefix("ray://"), int(port)), CONNECT_S).close()
        ray.init(address=address or None, log_to_driver=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"The Ray cluster at '{address or 'its default address'}' cannot be reached: {error}. Set "
            "executor.address, or leave it empty to start one on this machine."
        ) from error


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray", "scale", "The executor `ray`") from None
    return ray
