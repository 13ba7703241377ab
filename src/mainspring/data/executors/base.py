"""What an executor is: one function, many tasks, answers in the order in which they are done.

A task is pickled, its `str` is what an error calls it. The function is pickled once and told to every worker,
so it holds what all tasks share. Results are small; what is large lies in files.
"""

import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import pydantic

from mainspring.config import Config
from mainspring.errors import MainspringError, UserError

T = TypeVar("T")
R = TypeVar("R")


class ExecutorSettings(Config):
    """Who does the work. The dataset does not depend on it."""

    kind: Literal["local", "ray"] = pydantic.Field(
        default="local",
        description="local: processes of this machine; ray: a Ray cluster whose machines share a file system.",
    )
    workers: int = pydantic.Field(
        default=0, ge=0, description="Tasks at a time; 0 for one a processor. 1 stays within this process."
    )
    address: str = pydantic.Field(
        default="", description="Of the Ray cluster; empty for the one of RAY_ADDRESS or one of its own."
    )


class Executor(Protocol):
    """Calls a function on tasks. Close it at the end."""

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Generator[tuple[int, R]]:
        """(index of the task, result) as they are done.

        Raises:
            MainspringError: a task failed or its worker died; the message names the task.

        """
        ...

    def rest(self) -> None:
        """Give back the memory of idle workers; the next call of map takes it again."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...


def make(settings: ExecutorSettings) -> Executor:
    """The executor that the settings name."""
    if settings.kind == "ray":
        from mainspring.data.executors.ray import RayExecutor

        return RayExecutor(settings.workers, settings.address)
    from mainspring.data.executors.local import LocalExecutor

    return LocalExecutor(settings.workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a task: a value, or an error that can travel."""

    value: Any = None
    error: MainspringError | None = None

    def get(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


def attempt(function: Callable[[Any], Any], task: Any) -> Answer:
    """Call the function; a failure comes back as an error that names the task."""
    try:
        return Answer(value=function(task))
    except Exception as error:  # noqa: BLE001 - it is raised where the answer is read
        return Answer(error=_portable(error, task))


def died(task: object, how: str) -> MainspringError:
    """The error for a worker that was gone before it answered."""
    return MainspringError(
        f"The worker that did {task} {how}. What is finished is kept: make room or use fewer workers (-o "
        "executor.workers=1), and give the same command again."
    )


def _portable(error: Exception, task: object) -> MainspringError:
    """An error of one argument, because others do not survive pickling."""
    if isinstance(error, UserError):
        return UserError(str(error))
    if isinstance(error, MainspringError):
        return MainspringError(str(error))
    frame = traceback.extract_tb(sys.exc_info()[2])[-1]
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return MainspringError(f"{task} failed: {type(error).__name__}: {error} ({place}).")
