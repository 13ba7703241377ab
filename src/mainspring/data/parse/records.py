"""JSON and JSON Lines: each record a paragraph, a line a value, under the keys that lead to it.

{"name": "lamp", "size": {"height": 3}, "tags": ["a", "b"]}   ->   name: lamp
                                                                   size.height: 3
                                                                   tags: a, b
"""

import json
from collections.abc import Iterator
from typing import Any

from mainspring.data.parse.base import Parsed, Piece, Raw, assemble, decode
from mainspring.errors import DocumentError


def read(raw: Raw) -> Parsed:
    """One value; the entries of a list are its records."""
    value = _value(decode(raw.data, raw.name), raw.name)
    records = (
        value if isinstance(value, list) and any(isinstance(entry, dict) for entry in value) else [value]
    )
    return _assemble(records, raw.name)


def read_lines(raw: Raw) -> Parsed:
    """A record a line."""
    lines = decode(raw.data, raw.name).split("\n")
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    return _assemble([_value(line, f"{raw.name}, line {number}") for number, line in numbered], raw.name)


def _value(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{name}: not JSON ({error}). Correct it or leave it out.") from error


def _assemble(records: list[Any], name: str) -> Parsed:
    try:
        found = [Piece(kind="paragraph", text="\n".join(_lines(record, ""))) for record in records]
    except RecursionError as error:
        raise DocumentError(f"{name} is nested too deeply to be read. Leave it out.") from error
    return assemble(found, name)


def _lines(value: Any, key: str) -> Iterator[str]:
    """A line for every value that is no object; lists of plain values stay on one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _lines(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and any(isinstance(entry, dict | list) for entry in value):
        for entry in value:
            yield from _lines(entry, key)
    elif value is not None:
        plain = ", ".join(map(_shown, value)) if isinstance(value, list) else _shown(value)
        yield f"{key}: {plain}" if key else plain


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
