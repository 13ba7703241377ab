"""JSON Lines: one object a line."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mainspring.data.feeds.base import Part
from mainspring.data.feeds.tables.base import Row
from mainspring.data.feeds.tables.lines import Span, cut, records, whole


class _EveryLine:
    """Every line's end ends a record: within a JSON text the end of a line is always escaped."""

    def spans(self, chunk: bytes) -> list[Span]:
        return [(0, len(chunk))]


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLines:
    """A file of one JSON object a line; blank lines are passed over."""

    max_bytes: int

    def whole(self, path: Path) -> Part:
        return whole(path)

    def parts(self, path: Path, part_bytes: int) -> list[Part]:
        return cut(path, _EveryLine(), part_bytes)

    def rows(self, part: Part) -> Iterator[Row]:
        decoder = msgspec.json.Decoder()
        for record in records(part, _EveryLine(), self.max_bytes):
            if record.data is None:
                yield Row(number=record.number, fault=f"the line has more than {self.max_bytes:,} bytes")
            elif not record.data.isspace():
                yield _row(record.number, record.data, decoder)


def _row(number: int, data: bytes, decoder: "msgspec.json.Decoder[Any]") -> Row:
    try:
        values = decoder.decode(data)
    except UnicodeDecodeError as error:
        return Row(number=number, fault=f"the line is not UTF-8 text ({error.reason})")
    except msgspec.MsgspecError as error:
        return Row(number=number, fault=_why(data, error))
    if not isinstance(values, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(
            type(values), "a number or a truth value"
        )
        return Row(number=number, fault=f"the line holds {kind}; an object with fields is expected")
    return Row(number=number, values=values)


def _why(data: bytes, error: msgspec.MsgspecError) -> str:
    """What is wrong with a line, in the words of the reader that says it best."""
    try:
        json.loads(data.strip())
    except json.JSONDecodeError as fault:
        return f"the line is not JSON: {fault.msg} at character {fault.pos + 1:,}"
    except (ValueError, RecursionError):
        pass
    return f"the line is not JSON that is read ({error}): NaN, Infinity, half a character or too deep"
