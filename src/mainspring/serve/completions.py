"""/v1/completions: raw prompts, text or token ids, continued as they stand.

`user` is accepted and changes nothing. `suffix` is refused: no model here fills a gap. Several prompts give
choices in the prompts' order, n of each. `text_offset` counts characters of the choice's own text.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, ClassVar

from msgspec import Meta
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mainspring.gateway.pipeline import Pipeline
from mainspring.schema import ChatRequest, Delta, Reply, TokenLogprob
from mainspring.serve import body as bodies
from mainspring.serve import sse
from mainspring.serve.base import FieldError, bearer, fault_of, respond
from mainspring.serve.bridge import Bridge
from mainspring.serve.fields import (
    LEAST_LOGPROB,
    Count,
    Id,
    SamplingFields,
    ask_of,
    overrides,
    prompt_logprob_rows,
    usage_of,
)

MAX_PROMPTS = 128
DEFAULT_TOKENS = 16  # what OpenAI gives who sets no `max_tokens`


class CompletionBody(SamplingFields, frozen=True, kw_only=True):
    harmless = frozenset({"user"})
    neutral: ClassVar = {"suffix": ("",)}
    model: str
    prompt: str | list[str | Id | list[Id]]
    max_tokens: Count = DEFAULT_TOKENS
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool = False


class Completions:
    """The endpoint of raw prompts."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def routes(self) -> list[Route]:
        return [Route("/v1/completions", self.complete, methods=["POST"])]

    async def complete(self, request: Request) -> Response:
        """Continuations, whole or as server-sent events."""
        body = await bodies.read(request, CompletionBody)
        prompts, key = _prompts(body.prompt), bearer(request)
        chats = _requests(body, prompts, key)
        shown, decode = [""] * len(prompts), None
        if body.echo:
            decode = (await run_in_threadpool(self._pipeline.text_model, body.model, key)).decode
            shown = [one if isinstance(one, str) else await run_in_threadpool(decode, one) for one in prompts]
        bridge = Bridge(self._pipeline, chats, request.receive)
        if body.stream:
            return await sse.respond(bridge, _Teller(bridge, body, shown))
        replies = await bridge.whole()
        n = chats[0].ask.n
        choices = [
            _whole(index, reply, body, shown[index // n], decode) for index, reply in enumerate(replies)
        ]
        done = {**_head(bridge, body), "choices": choices, "usage": usage_of(replies, len(prompts))}
        return respond(done)


class _Teller:
    """The stream: the prompt where it is echoed, pieces of text, ends, the usage if asked for."""

    def __init__(self, bridge: Bridge, body: CompletionBody, shown: Sequence[str]) -> None:
        self._bridge, self._body, self._shown = bridge, body, shown
        self._replies: dict[int, Reply] = {}
        self._head: dict[str, Any] = {}
        self._offsets = [0] * bridge.num_replies

    def begin(self) -> Iterator[bytes]:
        self._head = _head(self._bridge, self._body)
        if self._body.echo:
            n = self._bridge.num_replies // len(self._shown)
            for index in range(self._bridge.num_replies):
                yield self._chunk(index, self._shown[index // n])

    def take(self, delta: Delta) -> Iterator[bytes]:
        if delta.reply is not None:
            self._replies[delta.index] = delta.reply
            yield self._chunk(delta.index, "", reply=delta.reply)
        elif delta.text or delta.logprobs:
            yield self._chunk(delta.index, delta.text, delta.logprobs)

    def end(self) -> Iterator[bytes]:
        if self._body.stream_options.include_usage:
            replies = [self._replies[index] for index in sorted(self._replies)]
            yield sse.event({**self._head, "choices": [], "usage": usage_of(replies, len(self._shown))})
        yield sse.DONE

    def fail(self, error: Exception) -> Iterator[bytes]:
        yield sse.event({"error": fault_of(error)})

    def _chunk(
        self, index: int, text: str, logprobs: Sequence[TokenLogprob] = (), reply: Reply | None = None
    ) -> bytes:
        choice = {
            "index": index, "text": text,
            "logprobs": _legacy(logprobs, self._offsets[index], self._body.logprobs) if logprobs else None,
            "finish_reason": reply.finish_reason if reply else None,
            "stop_reason": reply.stopped_by if reply else None,
        }  # fmt: skip
        self._offsets[index] += len(text)
        return sse.event({**self._head, "choices": [choice]})


def _prompts(given: str | list[Any]) -> list[str | tuple[int, ...]]:
    """The prompts: one text, several texts, ids of one, ids of several."""
    alone = isinstance(given, str) or (bool(given) and all(isinstance(one, int) for one in given))
    many: list[Any] = [given] if alone else list(given)
    if any(isinstance(one, int) for one in many):
        raise FieldError("`prompt` mixes token ids with texts or lists; send one kind.", param="prompt")
    if not 0 < len(many) <= MAX_PROMPTS or not all(many):
        raise FieldError(
            f"`prompt` is empty, holds an empty prompt, or more than {MAX_PROMPTS}. Send between one and that.",
            param="prompt",
        )
    return [one if isinstance(one, str) else tuple(one) for one in many]


def _requests(
    body: CompletionBody, prompts: Sequence[str | tuple[int, ...]], key: str | None
) -> list[ChatRequest]:
    if body.echo and body.stream and body.logprobs is not None:
        raise FieldError(
            "`echo`, `logprobs` and `stream` are given; a prompt's log-probabilities come whole. "
            "Leave one of them out.",
            param="echo",
        )
    sampling = overrides(body, body.max_tokens, body.logprobs)
    if body.echo and body.logprobs is not None:
        sampling["prompt_logprobs"] = max(body.logprobs, body.prompt_logprobs or 0)
    ask = ask_of(body)
    return [
        ChatRequest(model=body.model, prompt=prompt, ask=ask, overrides=sampling, stream=body.stream, key=key)
        for prompt in prompts
    ]


def _head(bridge: Bridge, body: CompletionBody) -> dict[str, Any]:
    return {
        "id": bridge.exchange.id, "object": "text_completion", "created": int(time.time()), "model": body.model,
    }  # fmt: skip


def _whole(
    index: int, reply: Reply, body: CompletionBody, shown: str, decode: Callable[[Sequence[int]], str] | None
) -> dict[str, Any]:
    """A choice; `decode` is there where its prompt is echoed."""
    logprobs = list(reply.logprobs)
    if decode is not None and body.logprobs is not None:  # the first id has no log-probability, only a text
        lead = TokenLogprob(id=-1, text=decode(reply.prompt_ids[:1]), logprob=0.0)
        logprobs = [lead, *(one for one in reply.prompt_logprobs if one is not None), *logprobs]
    asked = {"prompt_logprobs": prompt_logprob_rows(reply)} if body.prompt_logprobs is not None else {}
    return {
        "index": index, "text": shown + reply.text,
        "finish_reason": reply.finish_reason, "stop_reason": reply.stopped_by,
        "logprobs": _legacy(logprobs, 0, body.logprobs) if body.logprobs is not None else None, **asked,
    }  # fmt: skip


def _legacy(given: Sequence[TokenLogprob], offset: int, count: int | None) -> dict[str, Any]:
    """Log-probabilities as columns, as the oldest of OpenAI's endpoints writes them."""
    offsets = []
    for one in given:
        offsets.append(offset)
        offset += len(one.text)
    tops = [
        {other.text: max(other.logprob, LEAST_LOGPROB) for other in (one, *one.alternatives[:count])}
        if one.id >= 0 else None
        for one in given
    ]  # fmt: skip
    return {
        "tokens": [one.text for one in given],
        "token_logprobs": [max(one.logprob, LEAST_LOGPROB) if one.id >= 0 else None for one in given],
        "top_logprobs": tops if count else None, "text_offset": offsets,
    }  # fmt: skip
