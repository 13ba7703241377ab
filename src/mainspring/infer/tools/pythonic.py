"""Calls written as a Python list of calls: [get_weather(city="Oslo", days=3), now()], the whole reply.

Llama 4 and others write them so.
A call comes out whole, once its bracket is closed: only then is it known to be one.
"""

import ast
import json
import re

from mainspring.infer.tools.base import Brackets, Parser, fresh_id
from mainspring.schema import Delta, ToolCallDelta

CALL = r"(?=[A-Za-z_][\w.]*\s*(?:\(|$)|$)"
"""A call begins here, as far as the text goes."""
FIRST = re.compile(rf"\s*(?:\[\s*{CALL}|$)")
NEXT = re.compile(rf"\s*\]\s*$|[\s,\[]*{CALL}")
NAMES = {"true": True, "false": False, "null": None}


class PythonicCalls(Parser):
    """Reads a reply; what follows a call of a tool that there is not is text as well."""

    marks = ("func_name1(", "<|python_start|>")
    _is_text = False

    def push(self, text: str) -> Delta:
        self._held += text
        calls: list[ToolCallDelta] = []
        while not self._is_text and (call := self._next()) is not None:
            calls.append(call)
        shown = ""
        if self._is_text:
            shown, self._held = self._held, ""
        return Delta(text=shown, tool_calls=tuple(calls))

    def flush(self) -> str:
        return "" if self.num_whole and not self._held.strip(" \r\n\t,]") else self._held

    def _next(self) -> ToolCallDelta | None:
        """The next call if it is whole; where none can follow, all is text from here on."""
        begun = (NEXT if self.num_whole else FIRST).match(self._held)
        if begun is None:
            self._is_text = True
            return None
        source = self._held[begun.end() :]
        closed = Brackets("([{", ")]}", "\"'").closed(source)
        end = next((place for place, depth in closed if depth <= 0), None)
        if end is None:
            return None
        call = self._read(source[:end])
        self._is_text = call is None
        if call is not None:
            self._held = source[end:]
            self.num_whole += 1
        return call

    def _read(self, source: str) -> ToolCallDelta | None:
        try:
            call = ast.parse(source, mode="eval").body
            if not isinstance(call, ast.Call) or call.args:
                return None
            name = ast.unparse(call.func)
            values = {word.arg: ast.literal_eval(Constants().visit(word.value)) for word in call.keywords}
            arguments = json.dumps(values, ensure_ascii=False)
        except (SyntaxError, ValueError, TypeError, RecursionError):
            return None
        if name not in self._names or None in values:
            return None
        return ToolCallDelta(index=self.num_whole, id=fresh_id(), name=name, arguments=arguments)


class Constants(ast.NodeTransformer):
    """Takes JSON's own words for constants too."""

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(NAMES[node.id]) if node.id in NAMES else node
