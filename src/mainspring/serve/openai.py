"""The OpenAI dialect's chat: /v1/chat/completions.

One field is ours: `mainspring`, in a whole response and in the chunk of a stream that carries finish_reason
(see extension.Extension). Everything else is what OpenAI's own clients read, and `prompt_logprobs` as vLLM writes it.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mainspring.gateway.pipeline import Pipeline
from mainspring.schema import Delta, Reply
from mainspring.serve import body as bodies
from mainspring.serve import sse
from mainspring.serve.base import bearer, fault_of, respond
from mainspring.serve.bridge import Bridge
from mainspring.serve.extension import ending, extension, text_of
from mainspring.serve.fields import logprob_row, prompt_logprob_rows, usage_of
from mainspring.serve.openai_body import ChatBody, chat_request
from mainspring.serve.stored import Stored

UNMODERATED = {
    "type": "error",
    "code": "no_moderation_model",
    "message": "No moderation model is served here; nothing was scored.",
}


class Chats:
    """The endpoint of chats."""

    def __init__(self, pipeline: Pipeline, stored: Stored) -> None:
        self._pipeline, self._stored = pipeline, stored

    def routes(self) -> list[Route]:
        return [Route("/v1/chat/completions", self.chat, methods=["POST"])]

    async def chat(self, request: Request) -> Response:
        """Replies, whole or as server-sent events."""
        parsed = await bodies.read(request, ChatBody)
        chat = chat_request(parsed, bearer(request))
        bridge = Bridge(self._pipeline, [chat], request.receive)

        def close(replies: Sequence[Reply]) -> dict[str, Any]:
            done = completion(bridge.exchange.id, parsed, replies)
            if parsed.store:
                self._stored.keep(done, parsed.messages, request)
            return done

        if chat.stream:
            return await sse.respond(bridge, _Teller(bridge, parsed, close))
        done = await run_in_threadpool(close, await bridge.whole())
        return respond(done)


class _Teller:
    """The stream: a role, pieces of text and of tool calls, the end with its extension, what else was asked for.

    `close` is given the whole replies before the client hears that they are.
    """

    def __init__(
        self, bridge: Bridge, parsed: ChatBody, close: Callable[[Sequence[Reply]], dict[str, Any]]
    ) -> None:
        self._bridge, self._parsed, self._close = bridge, parsed, close
        self._sent = dict.fromkeys(range(bridge.num_replies), "")
        self._replies: list[Reply] = []
        self._head: dict[str, Any] = {}

    def begin(self) -> Iterator[bytes]:
        self._head = {
            "id": self._bridge.exchange.id, "object": "chat.completion.chunk", "created": int(time.time()),
            "model": self._parsed.model, "system_fingerprint": None,
        }  # fmt: skip
        for index in self._sent:
            yield self._chunk(index, {"role": "assistant", "content": "", "refusal": None})

    def take(self, delta: Delta) -> Iterator[bytes]:
        if delta.reply is not None:
            yield from self._finish(delta.index, delta.reply)
            return
        if delta.text or delta.logprobs:
            self._sent[delta.index] += delta.text
            yield self._chunk(delta.index, {"content": delta.text}, logprobs=_logprobs(delta.logprobs))
        for call in delta.tool_calls:
            begins = {"id": call.id, "type": "function"} if call.id else {}
            function = {"arguments": call.arguments, **({"name": call.name} if call.name else {})}
            yield self._chunk(
                delta.index, {"tool_calls": [{"index": call.index, **begins, "function": function}]}
            )

    def _finish(self, index: int, reply: Reply) -> Iterator[bytes]:
        self._replies.append(reply)
        missing, more = ending(self._bridge.exchange.id, reply, self._sent[index])
        if missing:
            yield self._chunk(index, {"content": missing})
        yield self._chunk(index, {}, reply, mainspring=more)

    def end(self) -> Iterator[bytes]:
        done = self._close(sorted(self._replies, key=lambda reply: reply.index))
        wanted = {"moderation": self._parsed.moderation, "usage": self._parsed.stream_options.include_usage}
        last = {name: done[name] for name, is_wanted in wanted.items() if is_wanted}
        if last:
            yield sse.event({**self._head, "choices": [], **last})
        yield sse.DONE

    def fail(self, error: Exception) -> Iterator[bytes]:
        yield sse.event({"error": fault_of(error)})

    def _chunk(
        self, index: int, delta: dict[str, Any], reply: Reply | None = None, *, logprobs: Any = None, **more: Any
    ) -> bytes:  # fmt: skip
        choice = {
            "index": index, "delta": delta, "logprobs": logprobs,
            "finish_reason": reply.finish_reason if reply else None,
            "stop_reason": reply.stopped_by if reply else None,
        }  # fmt: skip
        chunk = {**self._head, "choices": [choice], **more}
        options = self._parsed.stream_options
        if options.include_usage:
            chunk["usage"] = None
        if options.include_obfuscation:  # its length hides that of the text from who counts bytes
            chunk["obfuscation"] = secrets.token_urlsafe(32)[: secrets.randbelow(32)]
        return sse.event(chunk)


def completion(request: str, parsed: ChatBody, replies: Sequence[Reply]) -> dict[str, Any]:
    """A whole response."""
    more: dict[str, Any] = {}
    if parsed.moderation is not None:
        more["moderation"] = {"input": UNMODERATED, "output": UNMODERATED}
    if parsed.prompt_logprobs is not None:
        more["prompt_logprobs"] = prompt_logprob_rows(replies[0])
    return {
        "id": request, "object": "chat.completion", "created": int(time.time()), "model": parsed.model,
        "choices": [_choice(reply) for reply in replies], "usage": usage_of(replies),
        "service_tier": "default", "system_fingerprint": None, "metadata": parsed.metadata, **more,
        "mainspring": extension(request, replies[0]),
    }  # fmt: skip


def _choice(reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant", "content": text_of(reply), "refusal": None, "annotations": []
    }  # fmt: skip
    if reply.tool_calls:
        message["content"] = message["content"] or None
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reply.tool_calls
        ]
    return {
        "index": reply.index, "message": message, "logprobs": _logprobs(reply.logprobs),
        "finish_reason": reply.finish_reason, "stop_reason": reply.stopped_by,
    }  # fmt: skip


def _logprobs(given: Sequence[Any]) -> dict[str, Any] | None:
    return {"content": [logprob_row(one) for one in given], "refusal": None} if given else None
