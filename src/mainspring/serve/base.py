"""What the door needs besides the pipeline, and the one shape in which it reports errors."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mainspring import errors
from mainspring.gateway.base import Directory
from mainspring.gateway.drawer import LostError
from mainspring.infer.stats import EngineStats
from mainspring.knowledge.scope import Scope
from mainspring.prompts.chat_prompt import ChatPrompt


class Served(Directory, Protocol):
    """What stands behind the door: models, the stored sources of answers, and how the server is doing."""

    def document(self, id: str, scope: Scope) -> tuple[str, str]:  # noqa: A002 - the field's own name
        """Title and text of a document that `scope` may see; NotFoundError for any other."""
        ...

    def prompt(self, name: str, version: str | None) -> tuple[str, ChatPrompt]:
        """The reference and the messages of a stored prompt; NotFoundError, which lists the known ones, for any other.

        `version` is a number, a label, or None for the newest.
        """
        ...

    def health(self) -> str | None:
        """None while it can answer, else what is wrong: the engine's thread has ended, and why."""
        ...

    def stats(self) -> Mapping[str, EngineStats]:
        """What every engine has done and holds, by its model."""
        ...


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class FieldError(errors.ConfigError):
    """A field of a request that is not what was expected; `param` is its name, with which most messages begin."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param or field_of(message), code, status

    def within(self, place: str) -> "FieldError":
        """The same error of a field that lies within another."""
        path = f"{place}.{self.param}" if self.param else place
        text = str(self).replace(f"`{self.param or ''}`", f"`{path}`", 1)
        return FieldError(text, param=path, code=self.code)


def field_of(message: str) -> str | None:
    """The name of the field with which a message begins."""
    named = re.match(r"`([^`]+)`", message)
    return named and named[1]


KINDS: dict[type, tuple[str, str | None]] = {
    errors.AuthenticationError: ("authentication_error", "invalid_api_key"),
    errors.NotFoundError: ("invalid_request_error", "not_found"),
    LostError: ("invalid_request_error", "object_not_found"),
    errors.ContextLengthError: ("invalid_request_error", "context_length_exceeded"),
    errors.ChatError: ("invalid_request_error", "invalid_messages"),
    errors.UserError: ("invalid_request_error", None),
    errors.OverloadedError: ("rate_limit_error", "overloaded"),
    errors.DeadlineError: ("timeout_error", "deadline_exceeded"),
    errors.MainspringError: ("server_error", None),
}


ANTHROPIC_KINDS = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 408: "timeout_error",
    413: "request_too_large", 429: "rate_limit_error",
}  # fmt: skip


def fault_of(error: Exception) -> Fault:
    """An error in the shape that OpenAI's clients read; a stranger's text is never shown."""
    if not isinstance(error, errors.MainspringError):
        return Fault(
            message="The server failed on this request; its log says where. Try again, or report it.",
            type="server_error",
        )
    name, code = next(KINDS[kind] for kind in type(error).__mro__ if kind in KINDS)
    param = getattr(error, "param", field_of(str(error)))
    param = "messages" if isinstance(error, errors.ChatError) else param
    return Fault(message=str(error), type=name, param=param, code=getattr(error, "code", None) or code)


def respond(value: object, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(
        msgspec.json.encode(value), status_code=status, headers=headers, media_type="application/json"
    )


def respond_fault(fault: Fault, status: int, path: str, headers: dict[str, str] | None = None) -> Response:
    told = anthropic_fault(fault, status) if path.startswith("/v1/messages") else {"error": fault}
    return respond(told, status=status, headers=headers)


def anthropic_fault(fault: Fault, status: int) -> dict[str, Any]:
    """An error in the shape that Anthropic's clients read."""
    kind = ANTHROPIC_KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": fault.message}, "request_id": None}


def bearer(request: Request) -> str | None:
    """The key that came with a request, as OpenAI's clients send it or as Anthropic's do."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return request.headers.get("x-api-key", "").strip() or None


def authenticate(request: Request) -> Scope:
    """What a request may see; AuthenticationError for one without the key of this server."""
    return request.app.state.keys.authenticate(bearer(request))


def tenant_of(request: Request) -> str:
    """Whose objects a request may see."""
    return authenticate(request).tenant


def page_of(request: Request, rows: list[dict[str, Any]], order: str = "desc") -> dict[str, Any]:
    """The part of rows, given the oldest first, that a request's query asks for; see Drawer.page."""
    after, limit, is_rising = page_query(request, order=order)
    rows = rows if is_rising else rows[::-1]
    start = next((n for n, row in enumerate(rows, 1) if row["id"] == after), 0)
    return listing(rows[start : start + limit], has_more=len(rows) > start + limit)


def page_query(request: Request, most: int = 100, order: str = "desc") -> tuple[str | None, int, bool]:
    """The fields after, limit and order of a query; is_rising is order=asc."""
    query = request.query_params
    limit, order = query.get("limit", "20"), query.get("order", order)
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 9 and int(limit) <= most):
        raise FieldError(f"`limit` is '{limit}'; it must be between 0 and {most}.")
    if order not in {"asc", "desc"}:
        raise FieldError(f"`order` is '{order}'; it must be asc or desc.")
    return query.get("after"), int(limit), order == "asc"


def listing(rows: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    """A page of rows as OpenAI's clients read it."""
    ends = {"first_id": rows[0]["id"] if rows else None, "last_id": rows[-1]["id"] if rows else None}
    return {"object": "list", "data": rows, **ends, "has_more": has_more}
