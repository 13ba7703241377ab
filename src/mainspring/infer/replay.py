"""Run a recorded request again: the same ids and log-probabilities, or the first place where they differ.

In the exact mode a difference means that something else answers now: other weights, kernels, tokenizer or code. The
fast mode promises nothing, and its recordings say so.
"""

import threading
from collections.abc import Sequence

import msgspec

from mainspring.errors import MainspringError
from mainspring.infer.base import AnyEngine
from mainspring.infer.request import Output, Request
from mainspring.infer.sampling import Chosen


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


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The first place, counted from the reply's first id, where id and log-probability are not what they were."""

    position: int
    recorded: tuple[int, float] | None
    now: tuple[int, float] | None

    def __str__(self) -> str:
        return f"id {self.position}: recorded {_say(self.recorded)}, now {_say(self.now)}"


def replay(recordings: Sequence[Recording], engine: AnyEngine) -> list[Difference | None]:
    """Run recorded requests again, together; None for each that is equal to the bit.

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
        self._recording = recording
        self._found: list[Chosen] = []
        self._done = threading.Event()
        self._error: str | None = None

    def __call__(self, output: Output) -> bool:
        self._found += output.chosen if output.end is None else (output.end,)
        is_enough = len(self._found) > len(self._recorded()) - 1
        self._error = output.error or (
            self._error if output.finish_reason != "cancelled" else "The engine was closed."
        )
        if is_enough or output.finish_reason is not None or output.error is not None:
            self._done.set()
        return is_enough

    def difference(self) -> Difference | None:
        self._done.wait()
        if self._error is not None:
            raise MainspringError(self._error)
        recorded, now = self._recorded(), [(each.id, each.logprob) for each in self._found]
        for position in range(max(len(recorded), len(now))):
            before, after = (each[position] if position < len(each) else None for each in (recorded, now))
            if before != after:
                return Difference(position=position, recorded=before, now=after)
        return None

    def _recorded(self) -> list[tuple[int, float]]:
        recording = self._recording
        ends = () if recording.end is None else (recording.end,)
        return [*zip(recording.ids, recording.logprobs, strict=True), *ends]


def _say(pair: tuple[int, float] | None) -> str:
    return "nothing" if pair is None else f"{pair[0]} ({pair[1]!r})"
