"""What a reader of tool calls is: text goes in as it streams, text to show and pieces of calls come out.

Nothing that the model writes is lost: what only looks like a call and turns out to be none comes out as text.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from mainspring.schema import ToolCall, ToolCallDelta


@dataclass(frozen=True, slots=True)
class Parsed:
    """Text to show, and pieces of calls."""

    text: str = ""
    calls: tuple[ToolCallDelta, ...] = ()


class Parser(Protocol):
    """Reads one reply; `num_whole` calls have ended so far."""

    num_whole: int

    def push(self, text: str) -> Parsed:
        """What this piece of text makes certain."""
        ...

    def flush(self) -> Parsed:
        """The rest, once no more text comes."""
        ...


class Plain:
    """Reads no calls."""

    num_whole = 0

    def push(self, text: str) -> Parsed:
        return Parsed(text)

    def flush(self) -> Parsed:
        return Parsed()


class Calls:
    """Puts pieces of calls together."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._names: list[str] = []
        self._arguments: list[list[str]] = []

    def take(self, deltas: Iterable[ToolCallDelta]) -> None:
        for delta in deltas:
            if delta.index == len(self._ids):
                self._ids.append(delta.id)
                self._names.append(delta.name)
                self._arguments.append([])
            self._arguments[delta.index].append(delta.arguments)

    def whole(self) -> tuple[ToolCall, ...]:
        rows = zip(self._ids, self._names, self._arguments, strict=True)
        return tuple(ToolCall(id=id_, name=name, arguments="".join(parts)) for id_, name, parts in rows)


def fresh_id() -> str:
    """An id for a call, as unguessable as OpenAI's."""
    return f"call_{secrets.token_hex(12)}"
