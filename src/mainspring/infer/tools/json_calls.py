"""Calls written as JSON objects: {"name": ..., "arguments": {...}}, one or several, in whatever stands around them.

Hermes (Qwen, and whoever has none of his own): <tool_call>{"name": ..., "arguments": {...}}</tool_call>
Llama 3: {"name": ..., "parameters": {...}}, the whole reply, perhaps behind <|python_tag|>, several with ; between
Mistral: [TOOL_CALLS] [{"name": ..., "arguments": {...}}, ...], or [TOOL_CALLS]name[ARGS]{...}

An opening (`<tool_call>`, `[TOOL_CALLS]`, or the reply's very beginning) is followed by objects, with brackets, commas,
semicolons and white space between them. A call begins to stream once its name is known to be that of a tool.
"""

import json
import re
from collections.abc import Collection
from typing import Any

import msgspec

from mainspring.infer.stops import overlap
from mainspring.infer.tools.base import Brackets, Parser, fresh_id
from mainspring.schema import Delta, ToolCallDelta

TEXT = r'"(?:[^"\\]|\\.)*"'
HEADER = re.compile(
    rf'\s*\{{\s*(?:"(?:type|id)"\s*:\s*{TEXT}\s*,\s*)*"name"\s*:\s*({TEXT})\s*,\s*'
    r'"(?:arguments|parameters)"\s*:\s*(?=\{)'
)
FIRST_KEY = re.compile(r'\s*\{\s*"([^"]*)"')
NAMED = re.compile(r"([\w.-]+)(?:\[CALL_ID\][\w-]*)?(?:\[ARGS\])?\s*(?=\{)")
BEGINS_NAME = re.compile(r"[\w.-]+(?:\[[A-Z_]*\]?[\w-]*)*\s*")
BETWEEN = " \t\r\n[,;"
KEYS = frozenset(("name", "arguments", "parameters", "type", "id"))


class JsonCall:
    """Reads one object; `is_done` when it has ended, `is_broken` when it is no call of a tool that there is.

    With a `name` the object is the arguments alone.
    """

    def __init__(self, index: int, names: Collection[str], name: str | None) -> None:
        self.is_done = self.is_broken = self.has_begun = False
        self.raw = ""
        self._index, self._names = index, names
        self._brackets, self._floor = Brackets("{[", "}]", quotes='"'), 0 if name else 1
        self._sent = 0
        self._end: int | None = None
        if name is not None:
            self._begin(name, 0)

    def push(self, text: str) -> tuple[tuple[ToolCallDelta, ...], str]:
        """The pieces of the call that this text makes certain, and the text behind the object."""
        taken = len(text)
        for place, depth in self._brackets.closed(text):
            if depth == self._floor and self._end is None:
                self._end = len(self.raw) + place
            if depth <= 0:
                self.is_done, taken = True, place
                break
        self.raw += text[:taken]
        return self._look(), text[taken:]

    def _begin(self, name: str, start: int) -> None:
        """The call is known to be one, and its arguments begin at a place of `raw`."""
        self.has_begun, self._sent = True, start
        self._next = ToolCallDelta(index=self._index, id=fresh_id(), name=name)

    def _look(self) -> tuple[ToolCallDelta, ...]:
        if not self.has_begun and (header := HEADER.match(self.raw)) is not None:
            name = _value(header[1])
            if name in self._names:
                self._begin(name, header.end())
        if self.has_begun:
            piece = self.raw[self._sent : self._end]
            self._sent += len(piece)
            return (self._piece(piece),) if piece else ()
        if self.is_done:
            return self._whole()
        key = FIRST_KEY.match(self.raw)
        self.is_broken = key is not None and key[1] not in KEYS
        return ()

    def _whole(self) -> tuple[ToolCallDelta, ...]:
        """A call whose parts came in another order, all at once."""
        found = _value(self.raw) or {}
        name, arguments = str(found.get("name", "")), found.get("arguments", found.get("parameters", {}))
        if not KEYS.issuperset(found) or name not in self._names or not isinstance(arguments, dict | str):
            self.is_broken = True
            return ()
        self._begin(name, 0)
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return (self._piece(written),)

    def _piece(self, arguments: str) -> ToolCallDelta:
        """More of the arguments; the first piece tells whose they are."""
        piece, self._next = self._next, ToolCallDelta(index=self._index)
        return msgspec.structs.replace(piece, arguments=arguments)


def _value(text: str) -> Any:
    """What JSON stands for; None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class JsonCalls(Parser):
    """Reads a reply; see the module.

    `opening` stands before calls, `closing` behind them, where anything does. `is_open` says whether calls may begin
    without the opening, at the reply's beginning; `is_named` whether a call may also be the tool's name and its
    arguments, `name[ARGS]{...}`.
    """

    opening: str
    closing = ""
    is_open = is_named = False

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(names)
        self._call: JsonCall | None = None
        self._is_inside = self.is_open
        self._before = ""  # what stands before a call that is not known to be one yet
        self._shown, self._pieces = "", tuple[ToolCallDelta, ...]()

    def push(self, text: str) -> Delta:
        self._held += text
        self._shown, self._pieces = "", ()
        while self._inside() if self._is_inside else self._outside():
            pass
        return Delta(text=self._shown, tool_calls=self._pieces)

    def flush(self) -> str:
        begun = self._call.raw if self._call is not None and not self._call.has_begun else ""
        rest = self._before + begun + self._held
        return "" if self.num_whole and not rest.strip(BETWEEN + "]") else rest

    def _outside(self) -> bool:
        """Show text up to an opening, to which white space before it belongs; True where there is one."""
        before, found, after = self._held.partition(self.opening)
        sure = before if found else before[: len(before) - overlap(before, self.opening)]
        shown = sure.rstrip()
        self._shown += shown
        if found:
            self._before, self._held, self._is_inside = before[len(shown) :] + found, after, True
        else:
            self._held = self._held[len(shown) :]
        return self._is_inside

    def _inside(self) -> bool:
        """Read calls as far as the text goes; True where it goes on behind what was read."""
        call = self._call
        if call is None:
            return self._between()
        pieces, self._held = call.push(self._held)
        self._pieces += pieces
        if call.is_broken:
            return self._leave(self._before + call.raw)
        if call.has_begun:
            self._before = ""
        if call.is_done:
            self._call = None
            self.num_whole += 1
        return call.is_done

    def _between(self) -> bool:
        """What stands before, between and behind objects."""
        rest = self._held.lstrip(BETWEEN if self._before or self.closing == "]" else BETWEEN + "]")
        named = NAMED.match(rest) if self.is_named else None
        name, start = (named[1], named.end()) if named is not None else (None, 0)
        if rest.startswith("{", start) and name in (None, *self._names):
            self._before += self._held[: len(self._held) - len(rest) + start]
            self._call, self._held = JsonCall(self.num_whole, self._names, name), rest[start:]
            return True
        if self.closing and rest.startswith(self.closing):
            self._held = rest[len(self.closing) :]
            # a pair with nothing in it is text
            return self._leave(self._before + self.closing if self._before else "")
        if self.closing.startswith(rest) or (self.is_named and BEGINS_NAME.fullmatch(rest)):
            return False
        return self._leave(self._before)

    def _leave(self, shown: str) -> bool:
        """Go on outside of calls, and show what was read and is none."""
        self._shown += shown
        self._call, self._before, self._is_inside = None, "", False
        return True


class HermesCalls(JsonCalls):
    marks = ("<tool_call>",)
    special = ("<tool_call>", "</tool_call>")
    opening, closing = special


class MistralCalls(JsonCalls):
    marks = ("[TOOL_CALLS]",)
    special = ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]")
    opening, closing = "[TOOL_CALLS]", "]"
    is_named = True


class Llama3Calls(JsonCalls):
    marks = ("<|python_tag|>", '"parameters"', "ipython")
    special = ("<|python_tag|>",)
    opening = "<|python_tag|>"
    is_open = True
