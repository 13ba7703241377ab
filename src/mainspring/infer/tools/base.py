"""What a reader of tool calls is: text goes in as it streams, text to show and pieces of calls come out.

Nothing that the model writes is lost: what only looks like a call and turns out to be none comes out as text.
"""

import itertools
import secrets
from collections.abc import Collection, Iterable, Iterator
from operator import attrgetter

from mainspring.schema import Delta, ToolCall, ToolCallDelta


class Parser:
    """Reads one reply, of which `num_whole` calls have ended so far; this one reads no calls.

    `marks` in a template tell that it speaks a format. `special` are special tokens that its reader must see, which
    decoding leaves out otherwise. Calls of other tools than those of `names` are text.
    """

    marks: tuple[str, ...] = ()
    special: tuple[str, ...] = ()

    def __init__(self, names: Collection[str] = ()) -> None:
        self.num_whole = 0
        self._names, self._held = names, ""

    def push(self, text: str) -> Delta:
        """What this piece of text makes certain: text to show, and pieces of calls."""
        return Delta(text=text)

    def flush(self) -> str:
        """The rest, once no more text comes; it is asked for once."""
        return ""


class Brackets:
    """How deep a text stands within brackets, those in strings aside."""

    def __init__(self, opening: str, closing: str, quotes: str) -> None:
        self._opening, self._closing, self._quotes = opening, closing, quotes
        self._depth, self._quote, self._is_escaped = 0, "", False

    def closed(self, text: str) -> Iterator[tuple[int, int]]:
        """The place behind each closing bracket of more text, and the depth there."""
        for place, character in enumerate(text, 1):
            if self._is_escaped:
                self._is_escaped = False
            elif self._quote:
                self._is_escaped = character == "\\"
                self._quote = "" if character == self._quote else self._quote
            elif character in self._quotes:
                self._quote = character
            elif character in self._opening:
                self._depth += 1
            elif character in self._closing:
                self._depth -= 1
                yield place, self._depth


def whole_calls(pieces: Iterable[ToolCallDelta]) -> tuple[ToolCall, ...]:
    """The calls whose pieces came, one call after the other."""
    calls = (list(call) for _, call in itertools.groupby(pieces, attrgetter("index")))
    return tuple(
        ToolCall(id=call[0].id, name=call[0].name, arguments="".join(piece.arguments for piece in call))
        for call in calls
    )


def fresh_id() -> str:
    """An id for a call, as unguessable as OpenAI's."""
    return f"call_{secrets.token_hex(12)}"
