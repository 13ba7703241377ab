"""Chat completions that a client had stored (`store`): listed, read, marked with metadata, deleted."""

import re
import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mainspring.gateway.drawer import Drawer, Mark
from mainspring.serve import body as bodies
from mainspring.serve.base import FieldError, listing, page_of, page_query, respond, tenant_of
from mainspring.serve.fields import KEEP_S, Metadata

KIND = "chat completion"


class UpdateBody(bodies.Body, frozen=True, kw_only=True):
    metadata: Metadata | None = None


class Stored:
    """The endpoints of stored chat completions."""

    def __init__(self, drawer: Drawer) -> None:
        self._drawer = drawer

    def routes(self) -> list[Route]:
        one = "/v1/chat/completions/{completion}"
        return [
            Route("/v1/chat/completions", self.list, methods=["GET"]),
            Route(one, self.retrieve, methods=["GET"]),
            Route(one, self.update, methods=["POST"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/messages", self.messages, methods=["GET"]),
        ]

    def keep(self, done: dict[str, Any], messages: list[dict[str, Any]], request: Request) -> None:
        """Store a completion with the messages that were sent for it, durable on return."""
        rows = [_row(message, f"{done['id']}-{number}") for number, message in enumerate(messages)]
        kept = {"completion": done, "messages": rows}
        self._drawer.put(KIND, done["id"], kept, tenant=tenant_of(request), expires=time.time() + KEEP_S)

    def list(self, request: Request) -> Response:
        """The stored ones, of a model or with metadata where such are asked for."""
        tenant, query = tenant_of(request), request.query_params
        marks: list[Mark] = [("$.completion", "model", query["model"])] if "model" in query else []
        for name, value in query.items():
            if key := re.fullmatch(r"metadata\[(.+)\]", name):
                marks.append(("$.completion.metadata", key[1], value))
            elif name.startswith("metadata"):
                raise FieldError(f"`{name}` names no key; ask for one as `metadata[KEY]=VALUE`.", param=name)
        rows, has_more = self._drawer.page(KIND, tenant, *page_query(request, order="asc"), marks=marks)
        return respond(listing([row["completion"] for row in rows], has_more))

    def retrieve(self, request: Request) -> Response:
        return respond(self._get(request)["completion"])

    async def update(self, request: Request) -> Response:
        """Other metadata in place of what was there."""
        tenant, identity = tenant_of(request), request.path_params["completion"]
        body = await bodies.read(request, UpdateBody)

        def change(kept: dict[str, Any]) -> None:
            kept["completion"]["metadata"] = body.metadata

        kept = await run_in_threadpool(self._drawer.change, KIND, identity, tenant, change)
        return respond(kept["completion"])

    def delete(self, request: Request) -> Response:
        identity = request.path_params["completion"]
        self._drawer.delete(KIND, identity, tenant_of(request))
        return respond({"id": identity, "object": "chat.completion.deleted", "deleted": True})

    def messages(self, request: Request) -> Response:
        """What was sent for a completion, a page at a time."""
        return respond(page_of(request, self._get(request)["messages"], order="asc"))

    def _get(self, request: Request) -> dict[str, Any]:
        return self._drawer.get(KIND, request.path_params["completion"], tenant_of(request))


def _row(message: dict[str, Any], identity: str) -> dict[str, Any]:
    content = message.get("content")
    text, parts = (None, content) if isinstance(content, list) else (content, None)
    return {"refusal": None, **message, "id": identity, "content": text, "content_parts": parts}
