"""Run a recorded request again: the same ids and log-probabilities, or the first place where they differ.

In the exact mode a difference means that something else answers now: other weights, kernels, tokenizer or code. The
fast mode promises nothing, and its recordings say so.
"""

import itertools
from collections.abc import Sequence
from concurrent.futures import Future

import msgspec

from mainspring.errors import MainspringError
from mainspring.infer.base import AnyEngine
from mainspring.infer.request import Output, Request


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One reply as it was given: all that it depends on, and what came of it.

    `request` has the seed that was used and no deadline. `fingerprint` names weights and kernels. `end` is the
    end token's id and log-probability where one was chosen.
    """

    model: str
    backend: str
    mode: str
    fingerprint: str
    request: Request
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    end: tuple[int, float] | None = None


def replay(recordings: Sequence[Recording], engine: AnyEngine) -> list[str | None]:
    """Run recorded requests again, together: the first place, counted from the reply's first id, where id and
    log-probability are not what they were; None for each that is equal to the bit.

    Raises:
        MainspringError: the engine fails on one of them.

    """
    listeners = [_Listener(recording) for recording in recordings]
    for recording, listener in zip(recordings, listeners, strict=True):
        engine.submit_all([recording.request], [listener])
    return [listener.difference() for listener in listeners]


class _Listener:
    """Takes as many ids as were recorded: a reply may have been ended by its reader."""

    def __init__(self, recording: Recording) -> None:
        ends = () if recording.end is None else (recording.end,)
        self._recorded = [*zip(recording.ids, recording.logprobs, strict=True), *ends]
        self._found: list[tuple[int, float]] = []
        self._done = Future[None]()

    def __call__(self, output: Output) -> bool:
        chosen = output.chosen if output.end is None else (output.end,)
        self._found += [(each.id, each.logprob) for each in chosen]
        is_enough = len(self._found) >= len(self._recorded)
        if output.error is not None or output.finish_reason == "cancelled":
            self._done.set_exception(output.failure or MainspringError("The engine was closed."))
        elif is_enough or output.finish_reason is not None:
            self._done.set_result(None)
        return is_enough

    def difference(self) -> str | None:
        self._done.result()
        found = self._found[: len(self._recorded)]
        for position, (before, now) in enumerate(itertools.zip_longest(self._recorded, found)):
            if before != now:
                return f"id {position}: recorded {_say(before)}, now {_say(now)}"
        return None


def _say(pair: tuple[int, float] | None) -> str:
    return "nothing" if pair is None else f"{pair[0]} ({pair[1]!r})"
