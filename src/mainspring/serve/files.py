"""/v1/files and /v1/batches: what is worked on while nobody waits.

Files of every documented purpose are kept; only those for batches are read here. A line of a batch may go to
any of ENDPOINTS and is answered as if its client had sent it.
"""

import logging
import time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import Message

from mainspring.gateway.batches import Answered, Batches, file_row, new_batch
from mainspring.gateway.drawer import Drawer, new_id
from mainspring.serve import body as bodies
from mainspring.serve.base import FieldError, listing, page_query, respond, tenant_of
from mainspring.serve.bridge import never
from mainspring.serve.fields import Metadata

logger = logging.getLogger(__name__)
PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
ENDPOINTS = Literal[
    "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages", "/v1/rerank"
]  # fmt: skip


class ExpiresAfter(bodies.Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=3600, le=2_592_000)]


class BatchBody(bodies.Body, frozen=True, kw_only=True):
    input_file_id: str
    endpoint: ENDPOINTS
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


class Files:
    """The endpoints of files and batches."""

    def __init__(self, drawer: Drawer, batches: Batches) -> None:
        self._drawer, self._batches = drawer, batches

    def routes(self) -> list[Route]:
        return [
            Route("/v1/files", self.upload, methods=["POST"]),
            Route("/v1/files", self.files, methods=["GET"]),
            Route("/v1/files/{file}", self.file, methods=["GET"]),
            Route("/v1/files/{file}", self.delete, methods=["DELETE"]),
            Route("/v1/files/{file}/content", self.content, methods=["GET"]),
            Route("/v1/batches", self.create, methods=["POST"]),
            Route("/v1/batches", self.list, methods=["GET"]),
            Route("/v1/batches/{batch}", self.batch, methods=["GET"]),
            Route("/v1/batches/{batch}/cancel", self.cancel, methods=["POST"]),
        ]

    async def upload(self, request: Request) -> Response:
        """Keep a file, sent as a form."""
        tenant = tenant_of(request)
        parts = await bodies.read_form(request)
        name, content = parts.get("file", ("", None))
        purpose = parts.get("purpose", ("", b""))[1].decode(errors="replace")
        if content is None:
            raise FieldError("`file` is missing. Add it.", param="file", code="missing_required_parameter")
        if purpose not in PURPOSES:
            raise FieldError(
                f"`purpose` is '{purpose}'; it must be one of {', '.join(PURPOSES)}.", param="purpose"
            )
        given = {
            field: parts[f"expires_after[{field}]"][1].decode(errors="replace")
            for field in ("anchor", "seconds")
            if f"expires_after[{field}]" in parts
        }
        expires = time.time() + bodies.parse(ExpiresAfter, given, strict=False).seconds if given else None
        row = file_row(new_id("file-"), name or "upload", purpose, len(content), expires)
        await run_in_threadpool(self._drawer.write_file, row["id"], content)
        try:
            await run_in_threadpool(self._drawer.put, "file", row["id"], row, tenant=tenant, expires=expires)
        except Exception:
            self._drawer.path(row["id"]).unlink(missing_ok=True)
            raise
        return respond(row)

    def files(self, request: Request) -> Response:
        tenant, purpose = tenant_of(request), request.query_params.get("purpose")
        after, limit, is_rising = page_query(request, most=10_000)
        marks = [("$", "purpose", purpose)] if purpose else []
        rows, has_more = self._drawer.page(
            "file", tenant, after=after, limit=limit, is_rising=is_rising, marks=marks
        )
        return respond(listing(rows, has_more))

    def file(self, request: Request) -> Response:
        return respond(self._drawer.get("file", request.path_params["file"], tenant_of(request)))

    def delete(self, request: Request) -> Response:
        identity = request.path_params["file"]
        self._drawer.delete("file", identity, tenant_of(request))
        return respond({"id": identity, "object": "file", "deleted": True})

    def content(self, request: Request) -> Response:
        row = self._drawer.get("file", request.path_params["file"], tenant_of(request))
        return FileResponse(self._drawer.path(row["id"]), media_type="application/octet-stream")

    async def create(self, request: Request) -> Response:
        """Begin a batch; its file is checked when its turn comes."""
        tenant = tenant_of(request)
        body = await bodies.read(request, BatchBody)
        await run_in_threadpool(self._drawer.get, "file", body.input_file_id, tenant)
        keep_s = body.output_expires_after.seconds if body.output_expires_after else None
        batch = new_batch(new_id("batch_"), body.endpoint, body.input_file_id, body.metadata, keep_s)
        await run_in_threadpool(self._batches.submit, batch, tenant)
        return respond(_shown(batch))

    def list(self, request: Request) -> Response:
        after, limit, is_rising = page_query(request)
        rows, has_more = self._drawer.page(
            "batch", tenant_of(request), after=after, limit=limit, is_rising=is_rising
        )
        return respond(listing([_shown(row) for row in rows], has_more))

    def batch(self, request: Request) -> Response:
        batch = self._drawer.get("batch", request.path_params["batch"], tenant_of(request))
        if batch["status"] in {"in_progress", "cancelling"}:
            total, failed = self._drawer.count_lines(batch["id"])
            batch["request_counts"] |= {"completed": total - failed, "failed": failed}
        return respond(_shown(batch))

    def cancel(self, request: Request) -> Response:
        batch = self._batches.cancel(request.path_params["batch"], tenant_of(request))
        return respond(_shown(batch))


async def ask_inward(app: Starlette, path: str, body: bytes) -> Answered:
    """The server as its own client: a body to an endpoint, without a socket."""
    headers = {"host": "localhost", "content-type": "application/json", **app.state.keys.header()}
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": "POST", "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "client": ("127.0.0.1", 0), "server": ("127.0.0.1", 0),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    sent: list[Message] = []
    asked = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        return next(asked, None) or await never()

    async def send(message: Message) -> None:
        sent.append(message)

    failure = None
    try:
        await app(scope, receive, send)
    except Exception as error:  # the application raises again what it has answered with a status of 500
        if not sent or sent[0]["status"] < 500:
            raise
        failure = error
    request = Headers(raw=sent[0]["headers"])["x-request-id"]
    if failure is not None:
        logger.error("POST %s of a batch failed, request %s", path, request, exc_info=failure)
    answer = b"".join(message.get("body", b"") for message in sent[1:])
    return Answered(sent[0]["status"], request, msgspec.Raw(answer))


def _shown(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name != "output_expires_after_s"}
