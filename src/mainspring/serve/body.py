"""Request bodies: JSON into msgspec structs, exactly; what is not honored is refused by name."""

import asyncio
import difflib
import functools
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from mainspring.serve.base import FieldError


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """What may be sent: the fields, and those that change nothing.

    A `neutral` field is accepted with its value alone, because that changes nothing; a `harmless` one with any.
    """

    neutral: ClassVar[Mapping[str, Any]] = {}
    harmless: ClassVar[frozenset[str]] = frozenset()


class BodyPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a body; a field that it does not name is refused."""


T = TypeVar("T", bound=Body)


async def read(request: Request, kind: type[T]) -> T:
    """A request's body, which is a JSON object, as `kind`; see parse."""
    try:
        value = msgspec.json.decode(await read_bytes(request, request.app.state.limits.body_bytes))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FieldError(
            f"The body is not valid JSON: {error}. Send one JSON object.", code="invalid_json"
        ) from None
    if not isinstance(value, dict):
        raise FieldError(
            f"The body is a JSON {type(value).__name__}; it must be one JSON object.", code="invalid_json"
        )
    return parse(kind, value)


def reading(
    kind: type[T], answer: Callable[[Request, T], Response]
) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that reads a body as `kind` and answers it in a thread of its own."""

    @functools.wraps(answer)
    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(answer, request, await read(request, kind))

    return endpoint


async def read_bytes(request: Request, most: int) -> bytes:
    """A request's body, within a size and a time."""
    body, limit_s = bytearray(), request.app.state.limits.body_s
    try:
        async with asyncio.timeout(limit_s):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    raise FieldError(
                        f"The body is larger than {most:,} bytes, the most that is read. Send less.",
                        code="body_too_large",
                        status=413,
                    )
    except TimeoutError:
        raise FieldError(
            f"The body did not come within {limit_s:g} s. Send it faster, or send less.", status=408
        ) from None
    return bytes(body)


async def read_form(request: Request) -> dict[str, tuple[str, bytes]]:
    """The parts of a form by name: each part's file name, and its content."""
    kind = request.headers.get("content-type", "")
    boundary = re.search(r'boundary="?([^";,]+)"?', kind, re.IGNORECASE)
    if not kind.lower().startswith("multipart/form-data") or boundary is None:
        raise FieldError(f"The body is '{kind}'; it must be multipart/form-data.", code="invalid_form")
    pieces = (b"\r\n" + await read_bytes(request, request.app.state.limits.file_bytes)).split(
        b"\r\n--" + boundary[1].encode()
    )
    parts = {}
    for piece in pieces[1:-1]:
        head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        given = re.findall(r'\b(name|filename)=("[^"]*"|[^\s;"]+)', head.decode(errors="replace"))
        named = {key: value.strip('"') for key, value in given}
        parts[named.get("name", "")] = (named.get("filename", ""), content)
    return parts


def parse(kind: type[T], body: Mapping[str, Any], *, strict: bool = True) -> T:
    """Turn what was sent into `kind`, or raise FieldError for the first field that is not as its struct says.

    A field that is null counts as not given. Where not `strict`, a number may be a text, as in forms.
    """
    known = kind.__struct_encode_fields__
    given: dict[str, Any] = {}
    for name, value in body.items():
        if value is None or name in kind.harmless:
            continue
        if name in known:
            given[name] = value
        elif name not in kind.neutral:
            raise _unknown(name, known)
        elif (sent := _show(value)) != (only := _show(kind.neutral[name])):
            raise FieldError(
                f"`{name}` is {sent}; only {only} is supported here. Change it or leave it out.",
                code="unsupported_value",
            )
    try:
        return msgspec.convert(given, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise _explain(str(error), given) from None


def parse_each(kind: type[T], place: str, rows: Iterable[Any]) -> Iterator[T]:
    """Turn every row of the field `place` into `kind`."""
    for index, row in enumerate(rows):
        try:
            yield parse(kind, row)
        except FieldError as error:
            raise error.within(f"{place}[{index}]") from None


def _unknown(name: str, known: Sequence[str]) -> FieldError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean `{near[0]}`?" if near else f"Known fields: {', '.join(sorted(known))}."
    return _unsupported(name, f" {hint}")


def missing(path: str, how: str = "Add it.") -> FieldError:
    return FieldError(f"`{path}` is missing. {how}", code="missing_required_parameter")


def _unsupported(path: str, hint: str = "") -> FieldError:
    return FieldError(
        f"`{path}` is not supported here, and would be ignored. Leave it out.{hint}",
        code="unsupported_parameter",
    )


def _explain(reason: str, given: Mapping[str, Any]) -> FieldError:
    """Say a validation error as: the field, what it is, what was expected."""
    expected, _, place = reason.partition(" - at ")
    named = re.search(r"`\$\.?([^`]*)`$", place)  # before it may stand that it is of a key
    path = named[1].partition("[...]")[0] if named else ""  # which of several keys it is, nobody says
    if field := re.fullmatch(r"Object (missing required|contains unknown) field `(.*)`", expected):
        path = f"{path}.{field[2]}" if path else field[2]
        if field[1] == "contains unknown":
            return _unsupported(path)
        return missing(path)
    return FieldError(
        f"`{path}` is {_show(_value_at(given, path))}: {expected[:1].lower()}{expected[1:]}. Change it.",
        code="invalid_value",
    )


def _value_at(value: Any, path: str) -> Any:
    for step in re.findall(r"\w+", path):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def _show(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
