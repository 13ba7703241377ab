"""The OpenAI dialect: /v1/chat/completions, and /v1/completions, which continues raw prompts as they stand.

One field is ours: `mainspring`, in a whole chat and in the chunk of its stream that carries finish_reason (see
extension.Extension). Everything else is what OpenAI's own clients read, and `prompt_logprobs` as vLLM writes it.
Several raw prompts give choices in the prompts' order, n of each; `text_offset` counts characters of the choice's
own text that tokens before have begun. An echoed prompt comes with its log-probabilities where `logprobs` is set.
"""

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, ClassVar, Generic, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mainspring.gateway.pipeline import Pipeline
from mainspring.schema import Delta, Reply, TokenLogprob
from mainspring.serve import body as bodies
from mainspring.serve import sse
from mainspring.serve.base import bearer, fault_of, respond
from mainspring.serve.bridge import Bridge
from mainspring.serve.extension import ending, extension, text_of
from mainspring.serve.fields import LEAST_LOGPROB, SamplingFields, logprob_row
from mainspring.serve.openai_body import ChatBody, CompletionBody, chat_request, prompts_of, raw_requests
from mainspring.serve.stored import Stored

Json = dict[str, Any]
Logprobs = Sequence[TokenLogprob]
Decode = Callable[[Sequence[int]], str] | None
UNMODERATED = {
    "type": "error",
    "code": "no_moderation_model",
    "message": "No moderation model is served here; nothing was scored.",
}


class OpenAI:
    """The endpoints of what is generated."""

    def __init__(self, pipeline: Pipeline, stored: Stored) -> None:
        self._pipeline, self._stored = pipeline, stored

    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/completions", self.complete, methods=["POST"]),
        ]

    async def chat(self, request: Request) -> Response:
        """Replies, whole or as server-sent events."""
        body = await bodies.read(request, ChatBody)
        bridge = Bridge(self._pipeline, [chat_request(body, bearer(request))], request.receive)

        def keep(done: Json) -> None:
            if body.store:
                self._stored.keep(done, body.messages, request)

        return await ChatTeller(bridge, body, keep).answer()

    async def complete(self, request: Request) -> Response:
        """Continuations, whole or as server-sent events."""
        body, key = await bodies.read(request, CompletionBody), bearer(request)
        prompts = prompts_of(body)
        chats = raw_requests(body, prompts, key)
        shown, decode = [""] * len(prompts), None
        if body.echo:
            decode = (await run_in_threadpool(self._pipeline.text_model, body.model, key)).decode
            shown = [one if isinstance(one, str) else await run_in_threadpool(decode, one) for one in prompts]
        bridge = Bridge(self._pipeline, chats, request.receive)
        return await CompletionTeller(bridge, body, shown, decode).answer()


B = TypeVar("B", bound=SamplingFields)


class Teller(sse.Teller, Generic[B]):
    """What chats and raw prompts have in common: choices under one head, and how a stream of them ends."""

    kind: ClassVar[Json]

    def __init__(self, bridge: Bridge, body: B) -> None:
        self._bridge, self._body = bridge, body

    async def answer(self) -> Response:
        """All that is said: whole, or as server-sent events."""
        if self._body.stream:
            return await sse.respond(self._bridge, self)
        return respond(await run_in_threadpool(self.whole, await self._bridge.whole()))

    @cached_property
    def _head(self) -> Json:
        identity = self._bridge.exchange.id  # known when the request has begun
        return {"id": identity, **self.kind, "created": int(time.time()), "model": self._body.model}

    @abstractmethod
    def whole(self, replies: Sequence[Reply]) -> Json:
        """The response; that of a stream is made before the client hears of the end."""

    def end(self) -> Iterator[bytes]:
        done = self.whole(self._bridge.replies)
        asked = {"moderation": "moderation" in done, "usage": self._body.stream_options.include_usage}
        last = {name: done[name] for name, is_asked in asked.items() if is_asked}
        if last:
            yield self._event([], **last)
        yield sse.DONE

    def fail(self, error: Exception) -> Iterator[bytes]:
        yield sse.event({"error": fault_of(error)})

    def _asides(self) -> Json:
        """What the chunk of a choice carries beside it."""
        asked = self._body.stream_options
        usage = {"usage": None} if asked.include_usage else {}
        return usage | sse.padding(is_asked=asked.include_obfuscation)

    def _event(self, choices: list[Json], **more: Any) -> bytes:
        return sse.event({**self._head, "choices": choices, **more})


class ChatTeller(Teller[ChatBody]):
    """A chat. Its stream: a role, pieces of text and of tool calls, the end with its extension, what else was asked.

    `keep` is given the whole response.
    """

    kind: ClassVar = {"object": "chat.completion.chunk", "system_fingerprint": None}

    def __init__(self, bridge: Bridge, body: ChatBody, keep: Callable[[Json], None]) -> None:
        super().__init__(bridge, body)
        self._keep = keep
        self._sent = dict.fromkeys(range(bridge.num_replies), "")

    def whole(self, replies: Sequence[Reply]) -> Json:
        more: Json = {}
        if self._body.moderation is not None:
            more["moderation"] = {"input": UNMODERATED, "output": UNMODERATED}
        if self._body.prompt_logprobs is not None:
            more["prompt_logprobs"] = _prompt_logprobs(replies[0])
        done = {
            **self._head, "object": "chat.completion", "choices": [_choice(reply) for reply in replies],
            "usage": _usage(replies), "service_tier": "default", "metadata": self._body.metadata, **more,
            "mainspring": extension(self._head["id"], replies[0]),
        }  # fmt: skip
        self._keep(done)
        return done

    def begin(self) -> Iterator[bytes]:
        for index in self._sent:
            yield self._chunk(index, {"role": "assistant", "content": "", "refusal": None})

    def take(self, delta: Delta) -> Iterator[bytes]:
        index = delta.index
        if delta.reply is not None:
            missing, more = ending(self._head["id"], delta.reply, self._sent[index])
            if missing:
                yield self._chunk(index, {"content": missing})
            yield self._chunk(index, {}, delta.reply, mainspring=more)
            return
        if delta.text or delta.logprobs:
            self._sent[index] += delta.text
            yield self._chunk(index, {"content": delta.text}, logprobs=_logprobs(delta.logprobs))
        for call in delta.tool_calls:
            begins = {"id": call.id, "type": "function"} if call.id else {}
            function = {"arguments": call.arguments, **({"name": call.name} if call.name else {})}
            yield self._chunk(index, {"tool_calls": [{"index": call.index, **begins, "function": function}]})

    def _chunk(
        self, index: int, delta: Json, reply: Reply | None = None, *, logprobs: Any = None, **more: Any
    ) -> bytes:  # fmt: skip
        choice = {"index": index, "delta": delta, "logprobs": logprobs, **_ends(reply)}
        return self._event([choice], **self._asides(), **more)


class CompletionTeller(Teller[CompletionBody]):
    """Raw prompts, of which `shown` is echoed. Its stream: that, pieces of text, ends, the usage if asked for.

    `decode` is there where prompts are echoed; with log-probabilities they are when the model has these.
    """

    kind: ClassVar = {"object": "text_completion"}

    def __init__(self, bridge: Bridge, body: CompletionBody, shown: Sequence[str], decode: Decode) -> None:
        super().__init__(bridge, body)
        self._shown, self._decode = shown, decode
        self._num_each = bridge.num_replies // len(shown)
        self._offsets = [0] * bridge.num_replies

    def whole(self, replies: Sequence[Reply]) -> Json:
        choices = [self._choice(index, reply) for index, reply in enumerate(replies)]
        return {**self._head, "choices": choices, "usage": _usage(replies, len(self._shown))}

    def begin(self) -> Iterator[bytes]:
        if self._body.echo and self._body.logprobs is None:
            for index in range(self._bridge.num_replies):
                yield self._chunk(index, self._shown[index // self._num_each])

    def take(self, delta: Delta) -> Iterator[bytes]:
        if delta.prompt_logprobs:
            shown = self._shown[delta.index // self._num_each]
            yield self._chunk(delta.index, shown, self._echoed(delta.index, delta.prompt_logprobs))
        elif delta.reply is not None or delta.text or delta.logprobs:
            yield self._chunk(delta.index, delta.text, delta.logprobs, delta.reply)

    def _chunk(self, index: int, text: str, logprobs: Logprobs = (), reply: Reply | None = None) -> bytes:
        columns = self._columns(logprobs, self._offsets[index]) if logprobs else None
        self._offsets[index] += sum(map(_num_begun, logprobs))
        choice = {"index": index, "text": text, "logprobs": columns, **_ends(reply)}
        return self._event([choice], **self._asides())

    def _choice(self, index: int, reply: Reply) -> Json:
        asked, logprobs = self._body, list(reply.logprobs)
        if asked.echo and asked.logprobs is not None:
            logprobs = [*self._echoed(index, reply.prompt_logprobs), *logprobs]
        more = {} if asked.prompt_logprobs is None else {"prompt_logprobs": _prompt_logprobs(reply)}
        return {
            "index": index, "text": self._shown[index // self._num_each] + reply.text,
            "logprobs": None if asked.logprobs is None else self._columns(logprobs), **_ends(reply), **more,
        }  # fmt: skip

    def _echoed(self, index: int, given: Sequence[TokenLogprob | None]) -> list[TokenLogprob]:
        """A prompt's log-probabilities; the first of all ids has none, only a text."""
        assert self._decode is not None
        text = self._decode(self._bridge.prompt_ids(index)[:1])
        first = TokenLogprob(id=-1, text=text, logprob=0.0, bytes=tuple(text.encode()))
        return [one or first for one in given]

    def _columns(self, given: Logprobs, offset: int = 0) -> Json:
        """Log-probabilities as columns, as the oldest of OpenAI's endpoints writes them."""
        num_top = self._body.logprobs
        tops = [
            {other.text: max(other.logprob, LEAST_LOGPROB) for other in (one, *one.alternatives[:num_top])}
            if one.id >= 0 else None
            for one in given
        ]  # fmt: skip
        return {
            "tokens": [one.text for one in given],
            "token_logprobs": [max(one.logprob, LEAST_LOGPROB) if one.id >= 0 else None for one in given],
            "top_logprobs": tops if num_top else None,
            "text_offset": list(accumulate(map(_num_begun, given), initial=offset))[:-1],
        }  # fmt: skip


def _num_begun(one: TokenLogprob) -> int:
    """How many characters begin in a token; one whose bytes are shared out among tokens does in their first."""
    return sum(byte & 0xC0 != 0x80 for byte in one.bytes)


def _choice(reply: Reply) -> Json:
    message: Json = {"role": "assistant", "content": text_of(reply), "refusal": None, "annotations": []}
    if reply.tool_calls:
        message["content"] = message["content"] or None
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reply.tool_calls
        ]
    return {"index": reply.index, "message": message, "logprobs": _logprobs(reply.logprobs), **_ends(reply)}


def _ends(reply: Reply | None) -> Json:
    """Why a choice ended, if it has."""
    return {"finish_reason": reply and reply.finish_reason, "stop_reason": reply and reply.stopped_by}


def _usage(replies: Sequence[Reply], num_prompts: int = 1) -> Json:
    """The counts of a request as OpenAI writes them; the replies to one prompt share it."""
    firsts = replies[:: max(1, len(replies) // num_prompts)]
    read = sum(reply.usage.prompt_tokens for reply in firsts)
    written = sum(reply.usage.completion_tokens for reply in replies)
    return {
        "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written,
        "prompt_tokens_details": {"cached_tokens": sum(reply.usage.cached_tokens for reply in firsts)},
    }  # fmt: skip


def _logprobs(given: Logprobs) -> Json | None:
    return {"content": [logprob_row(one) for one in given], "refusal": None} if given else None


def _prompt_logprobs(reply: Reply) -> list[Json | None] | None:
    """The prompt's log-probabilities in vLLM's shape: null for the first id, else every id seen at a place."""
    return [one and _ranked(one) for one in reply.prompt_logprobs] or None


def _ranked(one: TokenLogprob) -> Json:
    ranks = {other.id: rank for rank, other in enumerate(one.alternatives, 1)}
    return {
        str(other.id): {
            "logprob": max(other.logprob, LEAST_LOGPROB), "rank": ranks.get(other.id), "decoded_token": other.text
        }
        for other in (one, *one.alternatives)
    }  # fmt: skip
