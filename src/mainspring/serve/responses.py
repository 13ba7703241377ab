"""/v1/responses: answers that are kept, so that the next request can go on from them.

A response is kept for KEEP_S seconds unless `store` is false. One that runs in the background belongs to the
process that began it: after a restart it is found to have failed.

What a response in a conversation was asked and said is added to that when the response is whole, and before its
client can see that it is, so that the next request goes on from it. One that failed or was cancelled adds nothing.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mainspring.errors import ConfigError, NotFoundError
from mainspring.gateway.drawer import Drawer, LostError, new_id
from mainspring.gateway.pipeline import Pipeline
from mainspring.schema import ChatRequest, Message
from mainspring.serve import body as bodies
from mainspring.serve import responses_body as asked
from mainspring.serve import responses_told as told
from mainspring.serve import sse
from mainspring.serve.base import FieldError, Served, bearer, page_of, respond, tenant_of
from mainspring.serve.bridge import Bridge, never
from mainspring.serve.conversations import Conversations, check_new
from mainspring.serve.fields import KEEP_S
from mainspring.serve.responses_body import Json

KIND = "response"
RUNNING, WHOLE = "in_progress", ("completed", "incomplete")
LOST = "The server was restarted while this response was in the background. Send it again."
logger = logging.getLogger(__name__)


class Responses:
    """The endpoints of responses."""

    def __init__(
        self, pipeline: Pipeline, served: Served, drawer: Drawer, conversations: Conversations
    ) -> None:
        self._pipeline, self._served, self._drawer = pipeline, served, drawer
        self._conversations = conversations
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
        body = await bodies.read(request, asked.ResponseBody)
        if body.background and not body.store:
            raise FieldError("`background` needs `store`; a response that is not kept is lost.")
        tenant, identity = tenant_of(request), new_id("resp_")
        turn = await run_in_threadpool(self._read, body, identity, tenant)
        chat = ChatRequest(
            model=turn.model, messages=turn.messages, prompt_artifact=turn.prompt, ask=asked.ask_of(body),
            overrides=asked.sampling_of(body), stream=body.stream, key=bearer(request),
        )  # fmt: skip
        bridge = Bridge(self._pipeline, [chat], never if body.background else request.receive)
        await bridge.start()
        request_id, sampling = bridge.exchange.id, bridge.exchange.sampling
        assert sampling is not None, "it is known when a model has begun"
        response = told.opening(identity, body, turn.model, sampling)
        teller = partial(told.Teller, response, request_id, is_padded=body.stream_options.include_obfuscation)

        def add(done: Json) -> None:
            if done["conversation"] and done["status"] in WHOLE:
                items = [*turn.items, *done["output"]]
                self._conversations.add(done["conversation"]["id"], tenant, items)

        def keep(done: Json) -> None:
            add(done)
            if body.store:
                kept = {"response": done, "items": turn.items, "before": turn.before}
                self._drawer.put(KIND, identity, kept, tenant=tenant, expires=time.time() + KEEP_S)

        if body.background:
            try:
                await run_in_threadpool(keep, response)
            except BaseException:
                bridge.close()
                raise
            run = _Run(response, bridge, teller, self._drawer, tenant, add=add, is_stream=body.stream)
            self._running[identity] = run
            run.task.add_done_callback(lambda _: self._running.pop(identity, None))
            return run.respond(0) if body.stream else respond(response)
        if body.stream:
            return await sse.respond(bridge, teller(keep))
        done = told.closing(response, (await bridge.whole())[0], request_id)
        await run_in_threadpool(keep, done)
        return respond(done)

    async def count(self, request: Request) -> Response:
        """How many tokens an input is."""
        body = await bodies.read(request, asked.InputBody)
        turn = await run_in_threadpool(self._read, body, "resp_", tenant_of(request))
        text = await run_in_threadpool(self._pipeline.text_model, turn.model, bearer(request))
        ids = await run_in_threadpool(text.prompt_ids, turn.messages, asked.ask_of(body))
        return respond({"object": "response.input_tokens", "input_tokens": len(ids)})

    async def compact(self, request: Request) -> Response:
        """A conversation as what its user said and a summary that the model writes, for the next to go on from."""
        body = await bodies.read(request, asked.CompactBody)
        model, history = await run_in_threadpool(self._before, body, tenant_of(request))
        identity = new_id("resp_")
        items = [*history, *(asked.items_of(body.input, identity) if body.input else [])]
        first = (Message("system", body.instructions),) if body.instructions else ()
        messages = (*first, Message("user", told.transcript(items)))
        chat = ChatRequest(model=model, messages=messages, key=bearer(request))
        bridge = Bridge(self._pipeline, [chat], request.receive)
        return respond(told.compacted(identity, items, (await bridge.whole())[0]))

    async def retrieve(self, request: Request) -> Response:
        run = self._running.get(request.path_params["response"])
        kept = await self._kept(request)  # behind it: what runs no more is kept with all its events
        if request.query_params.get("stream", "").lower() not in {"true", "1"}:
            return respond(kept["response"])
        after = request.query_params.get("starting_after", "-1")
        if not re.fullmatch(r"-?[0-9]{1,15}", after):
            raise FieldError(f"`starting_after` is '{after:.40}'; it must be the number of an event.")
        number = max(0, int(after) + 1)
        if run is not None:
            return run.respond(number)
        events = [event.encode() for event in kept.get("events", ())] or list(told.replay(kept["response"]))
        return Response(b"".join(events[number:]), headers=sse.HEADERS)

    async def delete(self, request: Request) -> Response:
        identity = request.path_params["response"]
        await run_in_threadpool(self._drawer.delete, KIND, identity, tenant_of(request))
        self._stop(identity)
        return respond({"id": identity, "object": "response", "deleted": True})

    async def cancel(self, request: Request) -> Response:
        """Stop one that runs in the background; one that has ended stays as it is."""
        kept = await self._kept(request)
        response, tenant = kept["response"], tenant_of(request)
        if not response["background"]:
            raise FieldError(
                f"The response '{response['id']}' does not run in the background; only such can be cancelled."
            )
        if response["status"] == RUNNING:
            kept = await run_in_threadpool(self._drawer.change, KIND, response["id"], tenant, _cancel)
            self._stop(response["id"])  # behind it: one that runs no more is taken for lost
        return respond(kept["response"])

    async def items(self, request: Request) -> Response:
        """What was sent for a response, a page at a time."""
        kept = await self._kept(request)
        return respond(page_of(request, kept["items"]))

    def _read(self, body: asked.InputBody, identity: str, tenant: str) -> "_Turn":
        """What a body asks, with all that it names."""
        conversation = asked.conversation_of(body)
        is_silent = body.input == "" and (conversation is not None or body.prompt is not None)
        items = asked.items_of([] if is_silent else body.input, identity)
        model, history = self._before(body, tenant, conversation)
        before = []
        if conversation is not None:
            check_new(items, history, "input")
            before = [item["id"] for item in history]
        prompt, first = self._prompt(body.prompt) if body.prompt else (None, ())
        messages = asked.messages_of(body.instructions, [*history, *items], first)
        return _Turn(model=model, items=items, before=before, messages=messages, prompt=prompt)

    def _prompt(self, named: asked.PromptName) -> tuple[str, tuple[Message, ...]]:
        """The reference of a stored prompt, and its messages."""
        given = (named.variables or {}).items()
        try:
            reference, prompt = self._served.prompt(named.id, named.version)
            return reference, prompt.fill(
                {name: one if isinstance(one, str) else one.text for name, one in given}
            )
        except NotFoundError as error:
            raise LostError(str(error)) from None
        except ConfigError as error:
            raise FieldError(str(error)).within("prompt") from None

    def _before(
        self, body: asked.CompactBody, tenant: str, conversation: str | None = None
    ) -> tuple[str, list[Json]]:
        """The model that answers, and all that was said before, the oldest first."""
        model, previous, history = body.model, body.previous_response_id, []
        while previous is not None:
            kept = self._drawer.get(KIND, previous, tenant)
            response = kept["response"]
            if response["status"] == RUNNING:
                raise FieldError(
                    f"The response '{previous}' is not whole yet; wait for it.", param="previous_response_id"
                )
            home = (response.get("conversation") or {}).get("id")
            if conversation not in (None, home):
                raise FieldError(
                    f"`previous_response_id` is '{previous}', which does not belong to the conversation "
                    f"'{conversation}': each names another history. Leave one of them out.",
                    code="invalid_value",
                )
            model = model or response["model"]
            history = [*kept["items"], *response["output"], *history]
            previous = response["previous_response_id"]
            if home is not None:  # what was said before it stands there
                seen, previous = set(kept["before"]), None
                earlier = self._conversations.items(home, tenant)
                history = [*(item for item in earlier if item["id"] in seen), *history]
        if conversation is not None:
            history = self._conversations.items(conversation, tenant)
        names = self._served.names() if model is None else [model]
        if not names:
            raise NotFoundError("No model is served, and `model` names none.")
        return names[0], history

    async def _kept(self, request: Request) -> Json:
        """What is kept of a response; what should run, and does not, is lost."""
        tenant, identity = tenant_of(request), request.path_params["response"]
        kept = await run_in_threadpool(self._drawer.get, KIND, identity, tenant)
        if kept["response"]["status"] == RUNNING and identity not in self._running:
            kept = await run_in_threadpool(self._drawer.change, KIND, identity, tenant, _lose)
        return kept

    def _stop(self, identity: str) -> None:
        if run := self._running.pop(identity, None):
            run.task.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """What is asked: `before` are the ids of the conversation's items, `prompt` is a stored prompt's reference."""

    model: str
    items: list[Json]
    before: list[str]
    messages: tuple[Message, ...]
    prompt: str | None


class _Run:
    """A response that is made in the background, whoever listens, and its events so far, for who follows it."""

    def __init__(
        self, response: Json, bridge: Bridge, teller: Callable[[Callable[[Json], None]], told.Teller],
        drawer: Drawer, tenant: str, *, add: Callable[[Json], None], is_stream: bool,
    ) -> None:  # fmt: skip
        self._response, self._add, self._drawer, self._tenant = response, add, drawer, tenant
        self._events: list[bytes] = []
        self._woken = asyncio.Future[None]()
        said = teller(lambda done: self._change(partial(self._end, done)))
        self.task = asyncio.create_task(self._work(bridge, said, is_stream=is_stream))
        self.task.add_done_callback(lambda _: self._woken.set_result(None))

    async def _work(self, bridge: Bridge, teller: told.Teller, *, is_stream: bool) -> None:
        """Say all events; the response is kept before its last one."""
        try:
            async for events in sse.tell(bridge, teller):
                self._events += events
                self._woken.set_result(None)
                self._woken = asyncio.Future()
        except Exception:
            logger.exception("The request %s failed in the background", bridge.exchange.id)
        if is_stream:  # its client may come back for what it has not seen
            await run_in_threadpool(self._change, partial(_remember, events=self._events))

    def _end(self, done: Json, kept: Json) -> None:
        if kept["response"]["status"] == RUNNING:
            self._add(done)
        _settle(kept, **done)

    def _change(self, how: Callable[[Json], None]) -> None:
        with contextlib.suppress(NotFoundError):  # its client has deleted it
            self._drawer.change(KIND, self._response["id"], self._tenant, how)

    def respond(self, number: int) -> StreamingResponse:
        """The events from that number on, as they come, until the last."""
        return StreamingResponse(self._follow(number), headers=sse.HEADERS)

    async def _follow(self, number: int) -> AsyncIterator[bytes]:
        while number < len(self._events) or not self.task.done():
            if number < len(self._events):
                yield self._events[number]
                number += 1
            elif not (await asyncio.wait([self._woken], timeout=sse.KEEP_ALIVE_S))[0]:
                yield sse.COMMENT


def _settle(kept: Json, **end: Any) -> None:
    """Note how a response ended; one that has ended already stays as it is."""
    if kept["response"]["status"] == RUNNING:
        kept["response"] |= end


def _remember(kept: Json, events: list[bytes]) -> None:
    if kept["response"]["status"] != "cancelled":
        kept["events"] = [event.decode() for event in events]


_cancel = partial(_settle, status="cancelled")
_lose = partial(_settle, status="failed", error={"code": "server_error", "message": LOST})
