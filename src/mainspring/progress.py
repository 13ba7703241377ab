"""Progress of long work, on standard error, so that standard output stays the result."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

console = Console(stderr=True, highlight=False)

Advance = Callable[[int], None]


@contextmanager
def bar(what: str, total: int, unit: str) -> Iterator[Advance]:
    """A bar on a terminal, a line at the end elsewhere; yields `advance(n)`."""
    if not console.is_terminal:
        start, done = time.monotonic(), 0

        def count(n: int) -> None:
            nonlocal done
            done += n

        yield count
        say(f"{what}: {done:,} {unit} in {time.monotonic() - start:.1f} s")
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=False) as progress:
        task = progress.add_task(what, total=total)
        yield lambda n: progress.advance(task, n)


def say(text: str) -> None:
    """One line of what is going on."""
    console.print(text, markup=False, soft_wrap=True)
    sys.stderr.flush()
