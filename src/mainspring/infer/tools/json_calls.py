"""Calls written as JSON objects: {"name": ..., "arguments": {...}}, one or several, in whatever stands around them.

An opening (`<tool_call>`, `[TOOL_CALLS]`, or the reply's very beginning) is followed by objects, with brackets, commas,
semicolons and white space between them. A call begins to stream once its name is known to be that of a tool.
"""

import json
import re
from collections.abc import Collection

from mainspring.infer.stops import overlap
from mainspring.infer.tools.base import Parsed, fresh_id
from mainspring.schema import ToolCallDelta

HEADER = re.compile(
    r'\s*\{\s*(?:"(?:type|id)"\s*:\s*"[^"]*"\s*,\s*)*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*'
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

    def __init__(self, index: int, names: Collection[str], name: str | None = None) -> None:
        self.is_done = self.is_broken = False
        self.has_begun = name is not None
        self.raw = ""
        self._name, self._floor = name or "", 0 if name is not None else 1
        self._index, self._names = index, names
        self._depth, self._in_string, self._is_escaped = 0, False, False
        self._start = self._sent = 0
        self._end: int | None = None

    def push(self, text: str) -> tuple[tuple[ToolCallDelta, ...], str]:
        """The pieces of the call that this text makes certain, and the text behind the object."""
        for place, character in enumerate(text):
            self._scan(character)
            if self.is_done:
                return self._look(), text[place + 1 :]
        return self._look(), ""

    def _scan(self, character: str) -> None:
        self.raw += character
        if self._in_string:
            if self._is_escaped:
                self._is_escaped = False
            elif character == "\\":
                self._is_escaped = True
            else:
                self._in_string = character != '"'
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
            self._begin()
        elif character in "}]":
            self._depth -= 1
            if self._depth == self._floor and self.has_begun and self._end is None:
                self._end = len(self.raw)
            self.is_done = self._depth <= 0

    def _begin(self) -> None:
        """Look, where the second bracket opens, whether it opens the arguments of a known tool."""
        if self.has_begun or self._depth != 2:
            return
        header = HEADER.match(self.raw)
        if header is not None and header.end() == len(self.raw) - 1:
            self._name = _text(header[1])
            if self._name in self._names:
                self.has_begun, self._start = True, header.end()
                self._sent = self._start

    def _look(self) -> tuple[ToolCallDelta, ...]:
        if self.has_begun:
            end = len(self.raw) if self._end is None else self._end
            if end == self._sent:
                return ()
            is_first, piece = self._sent == self._start, self.raw[self._sent : end]
            self._sent = end
            return (self._delta(piece, is_first=is_first),)
        if self.is_done:
            return self._whole()
        key = FIRST_KEY.match(self.raw)
        self.is_broken = key is not None and key[1] not in KEYS
        return ()

    def _whole(self) -> tuple[ToolCallDelta, ...]:
        """A call whose parts came in another order, all at once."""
        try:
            found = json.loads(self.raw)
        except ValueError:
            found = None
        found = found if isinstance(found, dict) and KEYS.issuperset(found) else {}
        name, arguments = str(found.get("name")), found.get("arguments", found.get("parameters", {}))
        if name not in self._names or not isinstance(arguments, dict | str):
            self.is_broken = True
            return ()
        self.has_begun, self._name = True, name
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return (self._delta(written, is_first=True),)

    def _delta(self, arguments: str, *, is_first: bool) -> ToolCallDelta:
        if not is_first:
            return ToolCallDelta(index=self._index, arguments=arguments)
        return ToolCallDelta(index=self._index, id=fresh_id(), name=self._name, arguments=arguments)


def _text(literal: str) -> str:
    try:
        return json.loads(literal)
    except ValueError:
        return ""


class JsonCalls:
    """Reads a reply; see the module.

    Args:
        names: of the tools that there are; calls of others are text.
        opening: what stands before calls, "" for nothing.
        closing: what stands behind them, "" for nothing.
        is_open: whether calls may begin without the opening, at the reply's beginning.
        is_named: whether a call may also be the tool's name and its arguments, `name[ARGS]{...}`.

    """

    def __init__(
        self, names: Collection[str], opening: str = "", closing: str = "", *, is_open: bool = False,
        is_named: bool = False,
    ) -> None:  # fmt: skip
        self._names, self._opening, self._closing = names, opening, closing
        self.num_whole = 0
        self._held = ""
        self._call: JsonCall | None = None
        self._is_inside, self._is_named = is_open, is_named
        self._before = ""  # what stands before a call that is not known to be one yet

    def push(self, text: str) -> Parsed:
        self._held += text
        shown, calls = "", tuple[ToolCallDelta, ...]()
        is_moving = True
        while is_moving:
            more, pieces, is_moving = self._outside() if not self._is_inside else self._inside()
            shown, calls = shown + more, calls + pieces
        return Parsed(shown, calls)

    def flush(self) -> Parsed:
        rest = "" if self._call is not None and self._call.has_begun else self._before + self._held
        if self._call is not None and not self._call.has_begun:
            rest = self._before + self._call.raw + self._held
        self._before = self._held = ""
        self._call, self._is_inside = None, False
        return Parsed("" if self.num_whole and not rest.strip(BETWEEN + "]") else rest)

    def _outside(self) -> tuple[str, tuple[ToolCallDelta, ...], bool]:
        """Text is shown up to an opening; white space before one belongs to it."""
        if self._opening:
            before, found, after = self._held.partition(self._opening)
            if found:
                shown = before.rstrip()
                self._before, self._held, self._is_inside = before[len(shown) :] + found, after, True
                return shown, (), True
        keep = overlap(self._held, self._opening) if self._opening else 0
        sure = self._held[: len(self._held) - keep]
        shown = sure.rstrip() if self._opening else sure
        self._held = self._held[len(shown) :]
        return shown, (), False

    def _inside(self) -> tuple[str, tuple[ToolCallDelta, ...], bool]:
        if self._call is None:
            return self._between()
        calls, rest = self._call.push(self._held)
        self._held = rest
        call = self._call
        if call.is_broken:
            shown, self._before = self._before + call.raw, ""
            self._call, self._is_inside = None, False
            return shown, (), True
        if call.has_begun:
            self._before = ""
        if call.is_done:
            self._call = None
            self.num_whole += 1
        return "", calls, call.is_done

    def _between(self) -> tuple[str, tuple[ToolCallDelta, ...], bool]:
        """What stands before, between and behind objects."""
        rest = self._held.lstrip(BETWEEN if self._before or self._closing == "]" else BETWEEN + "]")
        named = NAMED.match(rest) if self._is_named else None
        named = named if named is not None and named[1] in self._names else None
        if rest.startswith("{") or named is not None:
            name = named[1] if named is not None else None
            start = named.end() if named is not None else 0
            self._before += self._held[: len(self._held) - len(rest) + start]
            self._call, self._held = JsonCall(self.num_whole, self._names, name), rest[start:]
            return "", (), True
        if self._closing and rest.startswith(self._closing):
            shown = self._before + self._closing if self._before else ""  # a pair with nothing in it is text
            self._before, self._held, self._is_inside = "", rest[len(self._closing) :], False
            return shown, (), True
        could_close = self._closing.startswith(rest)
        if not rest or could_close or (self._is_named and BEGINS_NAME.fullmatch(rest)):
            return "", (), False
        shown, self._before, self._is_inside = self._before, "", False
        return shown, (), True
