"""The Anthropic dialect: /v1/messages and /v1/messages/count_tokens.

One field is ours, as in every dialect: `mainspring`, in a whole message and in the event message_delta. The
text of an answer whose sentences were cut together differs from its stream at most by what that field says.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mainspring.gateway.pipeline import Pipeline
from mainspring.schema import Delta, Reply, ToolCall
from mainspring.serve import body as bodies
from mainspring.serve import sse
from mainspring.serve.anthropic_body import CountBody, MessagesBody, ask_of, messages_of, messages_request
from mainspring.serve.base import anthropic_fault, bearer, fault_of, respond
from mainspring.serve.bridge import Bridge
from mainspring.serve.extension import ending, extension, text_of

Json = dict[str, Any]
REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class Anthropic:
    """The endpoints of the dialect."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def routes(self) -> list[Route]:
        return [
            Route("/v1/messages", self.create, methods=["POST"]),
            Route("/v1/messages/count_tokens", self.count, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """A message, whole or as server-sent events."""
        parsed = await bodies.read(request, MessagesBody)
        chat = messages_request(parsed, bearer(request))
        bridge = Bridge(self._pipeline, [chat], request.receive)
        if chat.stream:
            return await sse.respond(bridge, _Teller(bridge, parsed.model))
        reply = (await bridge.whole())[0]
        more = {"mainspring": extension(bridge.exchange.id, reply)}
        return respond(_message(bridge, parsed.model, _content(reply), _usage(reply), **_end(reply), **more))

    async def count(self, request: Request) -> Response:
        parsed = await bodies.read(request, CountBody)
        model = await run_in_threadpool(self._pipeline.text_model, parsed.model, bearer(request))
        ids = await run_in_threadpool(model.prompt_ids, messages_of(parsed), ask_of(parsed))
        return respond({"input_tokens": len(ids)})


class _Teller:
    """The stream: a message of blocks, each begun, filled and ended; then why it ended."""

    def __init__(self, bridge: Bridge, model: str) -> None:
        self._bridge, self._model = bridge, model
        self._sent = ""
        self._open: str | None = None  # what block is being filled: "text", or the number of a call
        self._index = -1

    def begin(self) -> Iterator[bytes]:
        usage = {"input_tokens": len(self._bridge.exchange.prompt_ids), "output_tokens": 0}
        yield _event("message_start", message=_message(self._bridge, self._model, [], usage))
        yield _event("ping")

    def take(self, delta: Delta) -> Iterator[bytes]:
        if delta.reply is not None:
            missing, more = ending(self._bridge.exchange.id, delta.reply, self._sent)
            if missing or self._index < 0:
                yield from self._say(missing)
            yield _event("content_block_stop", index=self._index)
            yield _event("message_delta", delta=_end(delta.reply), usage=_usage(delta.reply), mainspring=more)
            return
        if delta.text:
            self._sent += delta.text
            yield from self._say(delta.text)
        for call in delta.tool_calls:
            use = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            yield from self._fill(str(call.index), use, type="input_json_delta", partial_json=call.arguments)

    def end(self) -> Iterator[bytes]:
        yield _event("message_stop")

    def fail(self, error: Exception) -> Iterator[bytes]:
        yield sse.event(anthropic_fault(fault_of(error), getattr(error, "status", 500)), "error")

    def _say(self, text: str) -> Iterator[bytes]:
        return self._fill("text", {"type": "text", "text": ""}, type="text_delta", text=text)

    def _fill(self, name: str, block: Json, **delta: str) -> Iterator[bytes]:
        if self._open != name:
            if self._open is not None:
                yield _event("content_block_stop", index=self._index)
            self._open = name
            self._index += 1
            yield _event("content_block_start", index=self._index, content_block=block)
        yield _event("content_block_delta", index=self._index, delta=delta)


def _event(kind: str, **fields: Any) -> bytes:
    return sse.event({"type": kind, **fields}, kind)


def _message(bridge: Bridge, model: str, content: list[Json], usage: Json, **more: Any) -> Json:
    return {
        "id": bridge.exchange.id, "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": None, "stop_sequence": None, "usage": usage, **more,
    }  # fmt: skip


def _content(reply: Reply) -> list[Json]:
    text = text_of(reply)
    blocks: list[Json] = [{"type": "text", "text": text}] if text or not reply.tool_calls else []
    return blocks + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call)}
        for call in reply.tool_calls
    ]


def _input(call: ToolCall) -> Json:
    """A call's arguments; what a model wrote that is no JSON object stands under a name of its own."""
    try:
        return msgspec.json.decode(call.arguments, type=Json)
    except msgspec.DecodeError:
        return {"unparsed": call.arguments}


def _end(reply: Reply) -> Json:
    stopped = reply.stopped_by if isinstance(reply.stopped_by, str) else None
    reason = "stop_sequence" if stopped is not None else REASONS.get(reply.finish_reason, "end_turn")
    return {"stop_reason": reason, "stop_sequence": stopped}


def _usage(reply: Reply) -> Json:
    usage = reply.usage  # what was cached is counted apart from what was read
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens, "output_tokens": usage.completion_tokens,
        "cache_read_input_tokens": usage.cached_tokens, "cache_creation_input_tokens": 0,
    }  # fmt: skip
