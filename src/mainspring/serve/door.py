"""The door put together: routes, errors in one shape, and who may knock."""

from urllib.parse import SplitResult, urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mainspring.errors import MainspringError, NotFoundError
from mainspring.gateway.batches import Batches
from mainspring.gateway.drawer import Drawer
from mainspring.gateway.exchange import CLIENT_REQUEST
from mainspring.gateway.keys import Keys, is_loopback
from mainspring.gateway.pipeline import Pipeline
from mainspring.observe.feedback import Feedback
from mainspring.serve import openapi
from mainspring.serve.anthropic import Anthropic
from mainspring.serve.base import Fault, Served, fault_of, respond_fault
from mainspring.serve.conversations import Conversations
from mainspring.serve.files import Files, ask_inward
from mainspring.serve.limits import Limits
from mainspring.serve.models import Models
from mainspring.serve.openai import OpenAI
from mainspring.serve.own import Own
from mainspring.serve.responses import Responses
from mainspring.serve.stored import Stored
from mainspring.trace import announce_request_id

MAX_ID = 128
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def create(
    pipeline: Pipeline, served: Served, feedback: Feedback, *, drawer: Drawer, limits: Limits | None = None
) -> Starlette:
    """The application that a server runs; `app.state.batches` works while it does."""
    batches = Batches(drawer, lambda path, body: ask_inward(app, path, body))
    stored, conversations = Stored(drawer), Conversations(drawer)
    app = Starlette(
        routes=[
            *stored.routes(),
            *OpenAI(pipeline, stored).routes(),
            *Anthropic(pipeline).routes(),
            *Files(drawer, batches).routes(),
            *Responses(pipeline, served, drawer, conversations).routes(),
            *conversations.routes(),
            *Models(pipeline, served).routes(),
            *Own(pipeline.meter, feedback, served).routes(),
            Route("/openapi.json", openapi.show, methods=["GET"]),
        ],
        exception_handlers={
            MainspringError: _on_error,
            HTTPException: _on_http_error,
            ClientDisconnect: _on_error,  # while its body came; nobody hears the answer
            Exception: _on_error,
        },
    )
    # around the whole stack: Starlette answers what nobody has caught outside of `middleware`
    app.middleware_stack = Guard(app.build_middleware_stack(), pipeline.keys)
    app.state.keys, app.state.batches = pipeline.keys, batches
    app.state.limits = limits or Limits()
    return app


class Guard:
    """Sets protective headers and the request's id, the client's own where it gave one.

    Where no key is asked for, it refuses what other sites make a browser send.
    A page elsewhere can make its visitor's browser call 127.0.0.1 (a forged request), or point its own name
    there (DNS rebinding). Both show in the Origin and Host headers.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        client = given if 0 < len(given) <= MAX_ID and given.isascii() and given.isprintable() else None
        CLIENT_REQUEST.set(client)
        identity = client or announce_request_id()

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                sent.update(HEADERS)
                sent["x-request-id"] = sent["request-id"] = identity  # OpenAI's name for it, and Anthropic's
            await send(message)

        app = self._app
        if self._keys.is_open and (stranger := _stranger(headers)) is not None:
            fault = Fault(
                message=f"This server has no API key and answers only pages of its own, not {stranger}. "
                "Open it as http://127.0.0.1 or set MAINSPRING_API_KEY.",
                type="permission_error",
                code="foreign_origin",
            )
            app = respond_fault(fault, 403, scope["path"])
        await app(scope, receive, send_guarded)


def _stranger(headers: Headers) -> str | None:
    """The foreign host or origin that a request names, if it names one."""
    host, origin = headers.get("host", "localhost"), headers.get("origin")
    if not is_loopback(_address(f"//{host}").hostname or ""):
        return f"requests to the host '{host}'"
    if origin is not None and _address(origin).netloc != host:
        return f"the page '{origin}'"
    return None


def _address(text: str) -> SplitResult:
    """The parts of an address; of what is none, none."""
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")


async def _on_error(request: Request, error: Exception) -> Response:
    """Any error, in the shape of the dialect in which it was asked."""
    path = request.url.path
    status = error.status if isinstance(error, MainspringError) else 500
    headers = {
        401: {"WWW-Authenticate": "Bearer"},
        429: {"Retry-After": str(getattr(error, "retry_after_s", 1))},
    }.get(status)
    fault = fault_of(error)
    if isinstance(error, NotFoundError) and path.startswith("/v1/") and fault.code == "not_found":
        fault = msgspec.structs.replace(fault, code="model_not_found", param=fault.param or "model")
    return respond_fault(fault, status, path, headers)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """Starlette's own errors: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    path, method, headers = request.url.path, request.method, dict(error.headers or {})
    if error.status_code == 404:
        message = f"There is nothing at {path}. The API begins at /v1/chat/completions, the page at /."
    elif error.status_code == 405:
        there = (one for one in request.app.routes if isinstance(one, Route) and one.path_regex.match(path))
        allowed = headers["Allow"] = ", ".join(sorted({name for one in there for name in one.methods or ()}))
        message = f"{path} does not take {method}; it takes {allowed}."
    else:
        message = f"{method} {path}: {error.detail}."
    code = {404: "unknown_url", 405: "method_not_allowed"}.get(error.status_code)
    fault = Fault(message=message, type="invalid_request_error", code=code)
    return respond_fault(fault, error.status_code, path, headers)
