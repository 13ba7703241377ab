"""/v1/responses: answers that are kept, so that the next request can go on from them.

A response is kept for KEEP_S seconds unless `store` is false. One that runs in the background belongs to the
process that began it: after a restart it is found to have failed.
"""

import asyncio
import contextlib
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mainspring.errors import NotFoundError
from mainspring.gateway.base import Directory
from mainspring.gateway.drawer import Drawer
from mainspring.gateway.pipeline import Pipeline
from mainspring.schema import ChatRequest, Message
from mainspring.serve import body as bodies
from mainspring.serve import responses_told as told
from mainspring.serve import sse
from mainspring.serve.base import FieldError, bearer, page_of, respond, tenant_of
from mainspring.serve.bridge import Bridge, never
from mainspring.serve.fields import KEEP_S
from mainspring.serve.responses_body import (
    CompactBody,
    InputBody,
    ResponseBody,
    ask_of,
    items_of,
    messages_of,
    sampling_of,
)

KIND = "response"
RUNNING = ("queued", "in_progress")
Kept = dict[str, Any]
logger = logging.getLogger(__name__)


class Responses:
    """The endpoints of responses."""

    def __init__(self, pipeline: Pipeline, directory: Directory, drawer: Drawer) -> None:
        self._pipeline, self._directory, self._drawer = pipeline, directory, drawer
        self._running: dict[str, _Run] = {}

    def routes(self) -> list[Route]:
        one = "/v1/responses/{response}"
        return [
            Route("/v1/responses", self.create, methods=["POST"]),
            Route("/v1/responses/input_tokens", self.count, methods=["POST"]),
            Route("/v1/responses/compact", self.compact, methods=["POST"]),
            Route(one, self.retrieve, methods=["GET"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/cancel", self.cancel, methods=["POST"]),
            Route(f"{one}/input_items", self.items, methods=["GET"]),
        ]

    async def create(self, request: Request) -> Response:
        """A response, whole, as server-sent events, or begun in the background."""
        body = await bodies.read(request, ResponseBody)
        if body.background and not body.store:
            raise FieldError(
                "`background` needs `store`; a response that is not kept is lost.", param="background"
            )
        tenant = tenant_of(request)
        identity = f"resp_{uuid.uuid4().hex}"
        items = items_of(body, identity.replace("resp_", "msg_in_"))
        model, history = await run_in_threadpool(self._before, body, tenant)
        chat = ChatRequest(
            model=model, messages=messages_of(body.instructions, [*history, *items]), ask=ask_of(body),
            overrides=sampling_of(body), stream=body.stream, key=bearer(request),
        )  # fmt: skip
        bridge = Bridge(self._pipeline, [chat], never if body.background else request.receive)
        await bridge.start()
        request_id, sampling = bridge.exchange.id, bridge.exchange.sampling
        assert sampling is not None, "it is known when a model has begun"
        response = told.opening(identity, body, model, sampling)

        def keep(done: dict[str, Any]) -> None:
            if body.store:
                kept = {"response": done, "items": items}
                self._drawer.put(KIND, identity, kept, tenant=tenant, expires=time.time() + KEEP_S)

        if body.background:
            try:
                await run_in_threadpool(keep, response)
            except BaseException:
                bridge.close()
                raise
            self._run(response, bridge, tenant, is_stream=body.stream)
            return self._stream(identity, tenant, -1) if body.stream else respond(response)
        if body.stream:
            return await sse.respond(bridge, told.Teller(response, request_id, keep))
        done = told.closing(response, (await bridge.whole())[0], request_id)
        await run_in_threadpool(keep, done)
        return respond(done)

    async def count(self, request: Request) -> Response:
        """How many tokens an input is."""
        body = await bodies.read(request, InputBody)
        model, history = await run_in_threadpool(self._before, body, tenant_of(request))
        messages = messages_of(body.instructions, [*history, *items_of(body, "msg")])
        text = await run_in_threadpool(self._pipeline.text_model, model, bearer(request))
        ids = await run_in_threadpool(text.prompt_ids, messages, ask_of(body))
        return respond({"object": "response.input_tokens", "input_tokens": len(ids)})

    async def compact(self, request: Request) -> Response:
        """A conversation as what its user said and a summary that the model writes, for the next to go on from."""
        body = await bodies.read(request, CompactBody)
        model, history = await run_in_threadpool(self._before, body, tenant_of(request))
        identity = f"resp_{uuid.uuid4().hex}"
        items = [*history, *(items_of(body, identity.replace("resp_", "msg_in_")) if body.input else [])]
        first = (Message("system", body.instructions),) if body.instructions else ()
        messages = (*first, Message("user", told.transcript(items)))
        chat = ChatRequest(model=model, messages=messages, key=bearer(request))
        bridge = Bridge(self._pipeline, [chat], request.receive)
        return respond(told.compacted(identity, items, (await bridge.whole())[0]))

    async def retrieve(self, request: Request) -> Response:
        kept, tenant = await self._kept(request)
        if request.query_params.get("stream", "").lower() in {"true", "1"}:
            after = request.query_params.get("starting_after", "-1")
            if not re.fullmatch(r"-?[0-9]{1,15}", after):
                raise FieldError(
                    f"`starting_after` is '{after:.40}'; it must be the number of an event.",
                    param="starting_after",
                )
            return self._stream(kept["response"]["id"], tenant, int(after))
        return respond(kept["response"])

    async def delete(self, request: Request) -> Response:
        kept, tenant = await self._kept(request)
        identity = kept["response"]["id"]
        await run_in_threadpool(self._drawer.delete, KIND, identity, tenant)
        self._stop(identity)
        return respond({"id": identity, "object": "response", "deleted": True})

    async def cancel(self, request: Request) -> Response:
        """Stop one that runs in the background; one that has ended stays as it is."""
        kept, tenant = await self._kept(request)
        response = kept["response"]
        if not response["background"]:
            raise FieldError(
                f"The response '{response['id']}' does not run in the background; only such can be cancelled."
            )
        if response["status"] in RUNNING:
            kept = await run_in_threadpool(self._drawer.change, KIND, response["id"], tenant, _cancel)
            self._stop(response["id"])  # behind it: one that runs no more is taken for lost
        return respond(kept["response"])

    async def items(self, request: Request) -> Response:
        """What was sent for a response, a page at a time."""
        kept, _ = await self._kept(request)
        return respond(page_of(request, kept["items"]))

    def _before(self, body: CompactBody, tenant: str) -> tuple[str, list[dict[str, Any]]]:
        """The model that answers, and all that was said before, the oldest first."""
        model, previous, history = body.model, body.previous_response_id, []
        while previous is not None:
            kept = self._drawer.get(KIND, previous, tenant)
            response = kept["response"]
            if response["status"] in RUNNING:
                raise FieldError(
                    f"The response '{previous}' is not whole yet; wait for it.", param="previous_response_id"
                )
            model = model or response["model"]
            history = [*kept["items"], *response["output"], *history]
            previous = response["previous_response_id"]
        if model is None:
            names = self._directory.names()
            if not names:
                raise NotFoundError("No model is served, and `model` names none.")
            model = names[0]
        return model, history

    async def _kept(self, request: Request) -> tuple[Kept, str]:
        tenant, identity = tenant_of(request), request.path_params["response"]
        kept = await run_in_threadpool(self._drawer.get, KIND, identity, tenant)
        if kept["response"]["status"] in RUNNING and identity not in self._running:
            kept = await run_in_threadpool(self._drawer.change, KIND, identity, tenant, _lose)
        return kept, tenant

    # --- in the background ------------------------------------------------------------------------------

    def _run(self, response: dict[str, Any], bridge: Bridge, tenant: str, *, is_stream: bool) -> None:
        """Let what has begun go on, whoever listens."""
        identity = response["id"]

        def change(how: Callable[[Kept], None]) -> None:
            with contextlib.suppress(NotFoundError):  # its client has deleted it
                self._drawer.change(KIND, identity, tenant, how)

        teller = told.Teller(response, bridge.exchange.id, lambda done: change(partial(_settle, **done)))
        run = self._running[identity] = _Run(bridge, teller)

        def remember(kept: Kept) -> None:
            if kept["response"]["status"] != "cancelled":
                kept["events"] = [event.decode() for event in run.events]

        async def work() -> None:
            await run.work()
            if is_stream:  # its client may come back for what it has not seen
                await run_in_threadpool(change, remember)

        def end(_: object) -> None:
            self._running.pop(identity, None)
            run.end()

        run.task = asyncio.create_task(work())
        run.task.add_done_callback(end)

    def _stop(self, identity: str) -> None:
        run = self._running.pop(identity, None)
        if run is not None and run.task is not None:
            run.task.cancel()

    def _stream(self, identity: str, tenant: str, after: int) -> StreamingResponse:
        """The events of a response behind number `after`; of one that is under way as they come."""
        run, number = self._running.get(identity), max(0, after + 1)
        follow = run.follow(number) if run is not None else self._again(identity, tenant, number)
        return StreamingResponse(follow, media_type="text/event-stream", headers=sse.HEADERS)

    async def _again(self, identity: str, tenant: str, number: int) -> AsyncIterator[bytes]:
        kept = await run_in_threadpool(self._drawer.get, KIND, identity, tenant)
        for event in kept.get("events") or told.replay(kept["response"]):
            if number <= 0:
                yield event if isinstance(event, bytes) else event.encode()
            number -= 1


class _Run:
    """A response that is made in the background, and its events so far, for who follows it."""

    def __init__(self, bridge: Bridge, teller: told.Teller) -> None:
        self._bridge, self._teller = bridge, teller
        self._woken = asyncio.Event()
        self._is_done = False
        self.events: list[bytes] = []
        self.task: asyncio.Task[None] | None = None

    async def work(self) -> None:
        """Say all events; the response is kept before its last one."""
        try:
            async for events in sse.tell(self._bridge, self._teller):
                self._say(events)
        except Exception:
            logger.exception("The request %s failed in the background", self._bridge.exchange.id)

    def end(self) -> None:
        """Nothing more is said, however it ended."""
        self._is_done = True
        self._say(())

    def _say(self, events: Iterable[bytes]) -> None:
        self.events.extend(events)
        self._woken.set()
        self._woken = asyncio.Event()

    async def follow(self, number: int) -> AsyncIterator[bytes]:
        """The events from that number on, until the last."""
        while True:
            while number < len(self.events):
                yield self.events[number]
                number += 1
            if self._is_done:
                return
            try:
                async with asyncio.timeout(sse.KEEP_ALIVE_S):
                    await self._woken.wait()
            except TimeoutError:
                yield sse.COMMENT


def _settle(kept: Kept, **end: Any) -> None:
    """Note how a response ended; one that has ended already stays as it is."""
    if kept["response"]["status"] in RUNNING:
        kept["response"] |= end


_cancel = partial(_settle, status="cancelled")
_lose = partial(
    _settle, status="failed", error={
        "code": "server_error",
        "message": "The server was restarted while this response was in the background. Send it again.",
    },
)  # fmt: skip
