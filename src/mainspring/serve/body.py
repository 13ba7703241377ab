"""Request bodies: JSON into msgspec structs, exactly; what is not honored is refused by name."""

import difflib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from mainspring.serve.base import FieldError, TooLargeError

MAX_BODY_BYTES = 20_000_000

T = TypeVar("T", bound=msgspec.Struct)


async def read(request: Request) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        FieldError: no JSON, or JSON that is not an object.
        TooLargeError: more than MAX_BODY_BYTES.

    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise TooLargeError(
                f"The body is larger than {MAX_BODY_BYTES:,} bytes, the most that is read. Send less.",
                code="body_too_large",
            )
    try:
        value = msgspec.json.decode(bytes(body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FieldError(
            f"The body is not valid JSON: {error}. Send one JSON object.", code="invalid_json"
        ) from None
    if not isinstance(value, dict):
        raise FieldError(
            f"The body is a JSON {type(value).__name__}; it must be one JSON object.", code="invalid_json"
        )
    return value


def parse(
    kind: type[T],
    body: Mapping[str, Any],
    *,
    neutral: Mapping[str, tuple[Any, ...]] | None = None,
    harmless: frozenset[str] = frozenset(),
) -> T:
    """Turn a body into `kind`.

    Args:
        kind: the struct; its constraints are checked strictly.
        body: what was sent; a field that is null counts as not given.
        neutral: fields that are accepted with these values alone, because these change nothing.
        harmless: fields that are accepted with any value and change nothing.

    Raises:
        FieldError: an unknown field, a missing one, a wrong type, a value out of range.

    """
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    given: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in harmless:
            continue
        if name in known:
            given[name] = value
        elif not (neutral and name in neutral and _is_neutral(value, neutral[name])):
            raise _refusal(name, value, known, neutral or {})
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise _explain(str(error), given) from None


def _is_neutral(value: Any, allowed: tuple[Any, ...]) -> bool:
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed)


def _refusal(name: str, value: Any, known: set[str], neutral: Mapping[str, tuple[Any, ...]]) -> FieldError:
    if name in neutral:
        only = " or ".join(_show(one) for one in neutral[name])
        return FieldError(
            f"`{name}` is {_show(value)}; only {only} is supported here. Change it or leave it out.",
            param=name,
            code="unsupported_value",
        )
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean `{near[0]}`?" if near else f"Known fields: {', '.join(sorted(known))}."
    return FieldError(
        f"`{name}` is not supported here, and would be ignored. Leave it out. {hint}",
        param=name,
        code="unsupported_parameter",
    )


def _explain(reason: str, given: Mapping[str, Any]) -> FieldError:
    """Say a validation error as: the field, what it is, what was expected."""
    expected, _, place = reason.partition(" - at ")
    path = place.strip("`").removeprefix("$").lstrip(".").replace("[...]", "")
    missing = re.fullmatch(r"Object missing required field `(\w+)`", expected)
    if missing:
        path = f"{path}.{missing[1]}" if path else missing[1]
        return FieldError(f"`{path}` is missing. Add it.", param=path, code="missing_required_parameter")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", expected)
    if unknown:
        path = f"{path}.{unknown[1]}" if path else unknown[1]
        return FieldError(
            f"`{path}` is not supported here, and would be ignored. Leave it out.",
            param=path,
            code="unsupported_parameter",
        )
    return FieldError(
        f"`{path}` is {_show(_value_at(given, path))}: {expected[:1].lower()}{expected[1:]}. Change it.",
        param=path,
        code="invalid_value",
    )


def _value_at(value: Any, path: str) -> Any:
    for step in re.findall(r"\w+", path):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def _show(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
