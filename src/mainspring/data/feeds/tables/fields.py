"""Which fields of a row make a document, and the document that they make."""

import re
import string
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, Literal

import msgspec
import pydantic
from pydantic import Field

from mainspring.data.document import Document
from mainspring.data.feeds.base import FeedSettings
from mainspring.data.feeds.tables.messages import ALPACA_FIELDS, DEFAULT_FIELD, messages
from mainspring.data.parse.base import MAX_BYTES
from mainspring.errors import DocumentError

MISSING = object()
SECONDS = re.compile(r"\d{9,11}(?:\.\d+)?")  # fewer digits may be a date


class FieldSettings(FeedSettings):
    """Which fields are read; `a.b` is the field `b` of the object in the field `a`."""

    text: str = Field(
        default="text",
        min_length=1,
        description="The field with the text, or a template such as `{title}\\n\\n{body}`.",
    )
    id: str = Field(default="", description="The field that names a row; by default its line number does.")
    group: str = Field(default="", description="The field whose rows a split never tears apart.")
    time: str = Field(
        default="",
        description="The field that says when the text was written: ISO 8601, or seconds since 1970.",
    )
    meta: tuple[str, ...] = Field(default=(), description="Fields that are kept beside the text.")
    messages: str = Field(
        default="", description="The field with a conversation; its messages joined are the text then."
    )
    shape: Literal["", "auto", "openai", "sharegpt", "alpaca"] = Field(
        default="",
        description="The shape of conversations; `auto` recognises it. Alpaca's lie in the row itself.",
    )
    max_bytes: int = Field(default=MAX_BYTES, ge=1, description="A larger row is rejected.")

    @pydantic.field_validator("text")
    @classmethod
    def _is_field_or_template(cls, value: str) -> str:
        for _, name, form, conversion in string.Formatter().parse(value):
            if name == "" or form or conversion:
                raise ValueError(
                    "a template holds names of fields in braces, such as {title}, and no formats"
                )
        return value

    @property
    def is_conversation(self) -> bool:
        return bool(self.messages or self.shape)

    def asked(self) -> Iterator[str]:
        """The fields that every row should have."""
        if self.is_conversation:
            yield from (self.messages,) if self.messages else ()
        else:
            yield from template_fields(self.text)
        yield from (name for name in (self.id, self.group, self.time) if name)

    def wanted(self, shape: str) -> Iterator[str]:
        """The fields that are read at all, where conversations have `shape`."""
        yield from (*self.asked(), *self.meta)
        if self.is_conversation and not self.messages:
            yield from ALPACA_FIELDS if shape == "alpaca" else (DEFAULT_FIELD.get(shape, ""),)


def template_fields(text: str) -> list[str]:
    """The fields in a template; a text without braces is itself the name of one."""
    if "{" not in text and "}" not in text:
        return [text]
    return [name for _, name, _, _ in string.Formatter().parse(text) if name]


def lookup(values: Mapping[str, Any], name: str) -> Any:
    """The value of a field, or MISSING; a name with dots is looked up as it is first."""
    if name in values or "." not in name:
        return values.get(name, MISSING)
    outer, _, inner = name.partition(".")
    nested = values.get(outer, MISSING)
    return lookup(nested, inner) if isinstance(nested, Mapping) else MISSING


def document(
    values: Mapping[str, Any], settings: FieldSettings, shape: str, *, source: str, place: str
) -> Document:
    """The document of a row; `place` names it where no field does.

    Raises:
        DocumentError: why the row is none.

    """
    meta = {name: lookup(values, name) for name in settings.meta}
    meta = {
        name: msgspec.to_builtins(value, enc_hook=str) for name, value in meta.items() if value is not MISSING
    }
    if settings.is_conversation:
        told = messages(values, shape, settings.messages)
        text, meta = "\n\n".join(message["content"] for message in told), {**meta, "messages": told}
    else:
        text = _text(values, settings.text)
    if not text.strip():
        raise DocumentError("its text is empty")
    return Document(
        id=f"{source}#{_label(values, settings.id)}" if settings.id else place, text=text, source=source,
        group=f"{source}#{_label(values, settings.group)}" if settings.group else "",
        time=_time(_value(values, settings.time)) if settings.time else "", meta=meta,
    )  # fmt: skip


def _value(values: Mapping[str, Any], name: str) -> Any:
    found = lookup(values, name)
    if found is MISSING:
        raise DocumentError(f"it has no field '{name}'; it has {', '.join(map(str, values)) or 'none'}")
    return found


def _text(values: Mapping[str, Any], text: str) -> str:
    if "{" in text or "}" in text:
        parts = string.Formatter().parse(text)
        return "".join(literal + (_filled(values, name) if name else "") for literal, name, _, _ in parts)
    found = _value(values, text)
    if not isinstance(found, str):
        raise DocumentError(f"its field '{text}' is {_kind(found)}; a text is expected")
    return found


def _filled(values: Mapping[str, Any], name: str) -> str:
    """A field in a template: text or a number; nothing where it is null."""
    found = _value(values, name)
    if not isinstance(found, str | int | float | None):
        raise DocumentError(f"its field '{name}' is {_kind(found)}; a text or a number is expected")
    return "" if found is None else str(found)


def _label(values: Mapping[str, Any], name: str) -> str:
    """The value of a field that names something."""
    found = _value(values, name)
    if found is None or found == "" or isinstance(found, list | dict | float):
        raise DocumentError(f"its field '{name}' is {_kind(found)}; a text or a whole number is expected")
    return str(found)


def _time(found: Any) -> str:
    """ISO 8601, in UTC where a zone is known; "" for nothing."""
    if found is None or found == "":
        return ""
    try:
        if isinstance(found, str):
            found = float(found) if SECONDS.fullmatch(found) else _from_iso(found)
        if isinstance(found, int | float) and not isinstance(found, bool):
            found = datetime.fromtimestamp(found, UTC)
    except (ValueError, OverflowError, OSError):
        raise DocumentError(f"its time '{found}' is neither ISO 8601 nor seconds since 1970") from None
    if not isinstance(found, date):
        raise DocumentError(f"its time is {_kind(found)}; ISO 8601 or seconds since 1970 are expected")
    if isinstance(found, datetime) and found.tzinfo is not None:
        found = found.astimezone(UTC)
    return found.isoformat()


def _from_iso(text: str) -> date:
    return datetime.fromisoformat(text) if len(text) > len("2000-01-01") else date.fromisoformat(text)


def _kind(value: Any) -> str:
    names = {
        type(None): "null",
        list: "a list",
        dict: "an object",
        bool: "true or false",
        str: "an empty text",
    }
    return names.get(type(value), "bytes" if isinstance(value, bytes) else "a number")
