"""Calls written as a Python list of calls: [get_weather(city="Oslo", days=3), now()], the whole reply.

A call comes out whole, once its bracket is closed: only then is it known to be one.
"""

import ast
import json
import re
from collections.abc import Collection

from mainspring.infer.tools.base import Parsed, fresh_id
from mainspring.schema import ToolCallDelta

BEGIN = re.compile(r"\s*\[\s*[A-Za-z_][\w.]*\s*\(")
MAY_BEGIN = re.compile(r"\s*(?:\[\s*(?:[A-Za-z_][\w.]*\s*)?)?")
NAMES = {"true": True, "false": False, "null": None}


class PythonicCalls:
    """Reads a reply; calls of tools that there are not, and whatever follows them, are text."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._held, self.num_whole = "", 0
        self._is_text = self._has_begun = False

    def push(self, text: str) -> Parsed:
        self._held += text
        if not self._has_begun and not self._is_text:
            self._has_begun = BEGIN.match(self._held) is not None
            self._is_text = not self._has_begun and MAY_BEGIN.fullmatch(self._held) is None
        calls: list[ToolCallDelta] = []
        while self._has_begun and not self._is_text:
            start, end = _next_call(self._held)
            if end is None:
                self._is_text = start is None
                break
            call = self._read(self._held[start:end])
            if call is None:
                self._is_text = True
                break
            calls.append(call)
            self._held = self._held[end:]
        shown = ""
        if self._is_text:
            shown, self._held = self._held, ""
        return Parsed(shown, tuple(calls))

    def flush(self) -> Parsed:
        rest, self._held = self._held, ""
        return Parsed("" if self.num_whole and not rest.strip(" \r\n\t,]") else rest)

    def _read(self, source: str) -> ToolCallDelta | None:
        try:
            tree = ast.parse(source, mode="eval").body
            assert isinstance(tree, ast.Call)
            name = ast.unparse(tree.func)
            values = {word.arg: _literal(word.value) for word in tree.keywords}
            arguments = json.dumps(values, ensure_ascii=False)
        except (SyntaxError, ValueError, TypeError, AssertionError, RecursionError):
            return None
        if name not in self._names or tree.args or None in values:
            return None
        self.num_whole += 1
        return ToolCallDelta(index=self.num_whole - 1, id=fresh_id(), name=name, arguments=arguments)


def _literal(node: ast.expr) -> object:
    """The value of a literal; JSON's own words for constants are taken too."""

    class Constants(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return ast.Constant(NAMES[node.id]) if node.id in NAMES else node

    return ast.literal_eval(Constants().visit(node))


def _next_call(text: str) -> tuple[int | None, int | None]:
    """Where the next call begins and ends; no end while it is not whole, no beginning where none can follow."""
    begun = re.match(r"[\s,\[]*(?=[A-Za-z_][\w.]*\s*(?:\(|$)|$)", text)
    if begun is None:
        return (0, None) if re.fullmatch(r"\s*\]\s*", text) else (None, None)
    depth, quote, is_escaped = 0, "", False
    for place in range(begun.end(), len(text)):
        character = text[place]
        if is_escaped:
            is_escaped = False
        elif quote:
            is_escaped = character == "\\"
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth <= 0:
                return begun.end(), place + 1
    return begun.end(), None
