"""The label moves while streams are in flight: each stays wholly with the version that it began with."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from mainspring.app import IN_PRODUCTION, Workspace
from mainspring.demo.server import PARALLEL, Asked, Server
from mainspring.errors import MainspringError

BEGIN_S, LOOK_EVERY_S = 60.0, 0.02
NUM_AFTER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """`in_flight` streams had begun before the move and ended after it, all with `before`."""

    before: str
    after: str
    in_flight: int


def switch(workspace: Workspace, server: Server, move: Callable[[], str], questions: Sequence[str]) -> Switch:
    """Move the label under 16 streams; `move` does it and returns the version that answers from then on.

    Raises:
        MainspringError: a stream failed, or answered with another version than the one it began with.

    """
    before = workspace.registry.get(IN_PRODUCTION).reference
    asked = [questions[number % len(questions)] for number in range(PARALLEL)]
    with ThreadPoolExecutor(PARALLEL) as pool:
        early = [pool.submit(server.ask, question) for question in asked]
        _wait_for_all(server, early)
        reference = move()
        moved = time.monotonic()
        with ThreadPoolExecutor(NUM_AFTER) as later:
            late_answers = list(later.map(server.ask, questions[:NUM_AFTER]))
        early_answers = [future.result() for future in early]
    crossing = [answer for answer in early_answers if answer.ended > moved]
    _check(early_answers, before)
    _check(late_answers, reference)
    return Switch(before=before, after=reference, in_flight=len(crossing))


def _wait_for_all(server: Server, early: Sequence[Future[Asked]]) -> None:
    """Until the server has taken all streams in, each with the version that is in production: a loaded one is slow."""
    end = time.monotonic() + BEGIN_S
    while sum(future.done() for future in early) + server.num_open() < len(
        early
    ):  # none is counted twice this way
        if time.monotonic() > end:
            raise MainspringError(f"{len(early)} streams had not begun within {BEGIN_S:g} s.")
        time.sleep(LOOK_EVERY_S)


def _check(answers: list[Asked], wanted: str) -> None:
    versions = {answer.answer.get("assistant") for answer in answers}
    if versions != {wanted} or not all(answer.text for answer in answers):
        raise MainspringError(f"Streams that began with {wanted} answered with {versions}.")
