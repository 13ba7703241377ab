"""The OpenAI dialect: /v1/chat/completions, /v1/models, /v1/embeddings.

One field is ours: `mainspring`, in a whole response and in the chunk of a stream that carries finish_reason
(see Extension). Everything else is what OpenAI's own clients read.
"""

import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mainspring.errors import MainspringError, NotFoundError
from mainspring.gateway.base import Directory
from mainspring.gateway.pipeline import Pipeline, assistant_of
from mainspring.schema import Citation, Delta, Hit, Reply, Usage
from mainspring.serve import body as bodies
from mainspring.serve.base import bearer, fault_of, respond
from mainspring.serve.bridge import Bridge, GoneError, finished
from mainspring.serve.openai_body import ChatBody, chat_request, embedding_texts


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A stored passage that was found for the question; `text` is the document's from `start` to `end`."""

    document: str
    title: str
    heading: str
    chunk: str
    start: int
    end: int
    text: str
    score: float


class Extension(msgspec.Struct, frozen=True, kw_only=True):
    """The field `mainspring`: why an answer may be believed, and what feedback on it must name.

    `kind` is null when a plain model answered. `text` is the whole answer where it differs from what was
    streamed before (a client then shows it instead), else null. Positions count characters (code points).
    """

    request: str
    assistant: str | None = None
    kind: str | None = None
    citations: tuple[Citation, ...] = ()
    passages: tuple[Passage, ...] = ()
    text: str | None = None


class OpenAI:
    """The endpoints of the dialect."""

    def __init__(self, pipeline: Pipeline, directory: Directory) -> None:
        self._pipeline = pipeline
        self._directory = directory
        self._created = int(time.time())

    def routes(self) -> list[Route]:
        return [
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/embeddings", self.embeddings, methods=["POST"]),
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/{name:path}", self.model, methods=["GET"]),
        ]

    async def chat(self, request: Request) -> Response:
        """A reply, whole or as server-sent events."""
        chat, parsed = chat_request(await bodies.read(request), bearer(request))
        bridge = Bridge(self._pipeline, chat, request)
        if not chat.stream:
            reply = await bridge.whole()
            return respond(
                _completion(bridge.exchange.id, chat.model, reply),
                headers={"x-request-id": bridge.exchange.id},
            )
        first = await bridge.start()
        return StreamingResponse(
            _events(bridge, first, parsed),
            media_type="text/event-stream",
            headers={
                "cache-control": "no-store",
                "x-accel-buffering": "no",
                "x-request-id": bridge.exchange.id,
            },
        )

    async def embeddings(self, request: Request) -> Response:
        parsed, texts = embedding_texts(await bodies.read(request))
        done = await run_in_threadpool(self._pipeline.embed, parsed.model, texts, bearer(request))
        rows = np.asarray(done.vectors, dtype="<f4")
        data = [
            {"object": "embedding", "index": index, "embedding": _vector(row, parsed.encoding_format)}
            for index, row in enumerate(rows)
        ]
        usage = {"prompt_tokens": done.num_tokens, "total_tokens": done.num_tokens}
        return respond(
            {"object": "list", "model": parsed.model, "data": data, "usage": usage},
            headers={"x-request-id": done.request},
        )

    def models(self, request: Request) -> Response:
        """All models; the extension field says what each is for."""
        return respond({"object": "list", "data": self._list(request)})

    def model(self, request: Request) -> Response:
        name = request.path_params["name"]
        known = {row["id"]: row for row in self._list(request)}
        if name not in known:
            raise NotFoundError(f"There is no model '{name}'; known models are {', '.join(known)}.")
        return respond(known[name])

    def _list(self, request: Request) -> list[dict[str, Any]]:
        self._pipeline.keys.authenticate(bearer(request))
        tasks = [(name, "chat") for name in self._directory.names()]
        tasks += [(name, "embedding") for name in self._directory.embedder_names()]
        return [
            {
                "id": name, "object": "model", "created": self._created, "owned_by": "mainspring",
                "mainspring": {"task": task},
            }
            for name, task in tasks
        ]  # fmt: skip


async def _events(bridge: Bridge, first: Delta, parsed: ChatBody) -> AsyncIterator[bytes]:
    """The stream: a role, pieces of text, the end with its extension, the usage if asked for."""
    head = {
        "id": bridge.exchange.id, "object": "chat.completion.chunk", "created": int(time.time()),
        "model": parsed.model,
    }  # fmt: skip
    sent = ""

    def chunk(delta: dict[str, str], finish_reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event({**head, "choices": [choice], **more})

    try:
        yield chunk({"role": "assistant", "content": ""})
        delta = first
        while delta.reply is None:
            sent += delta.text
            yield chunk({"content": delta.text})
            delta = await bridge.next()
        reply = finished(delta.reply)
        missing, extension = _ending(bridge.exchange.id, reply, sent)
        if missing:
            yield chunk({"content": missing})
        yield chunk({}, reply.finish_reason, mainspring=extension)
        if parsed.stream_options.include_usage:
            yield _event({**head, "choices": [], "usage": _usage(reply.usage)})
        yield b"data: [DONE]\n\n"
    except GoneError:
        return
    except Exception as error:
        yield _event({"error": fault_of(error)})
        if not isinstance(error, MainspringError):
            raise
    finally:
        bridge.close()


def _ending(request: str, reply: Reply, sent: str) -> tuple[str, Extension]:
    """What of the answer's text is still to be sent, and the extension."""
    text = text_of(reply)
    if text.startswith(sent):
        return text[len(sent) :], _extension(request, reply)
    return "", _extension(request, reply, text=text)


def text_of(reply: Reply) -> str:
    return reply.answer.text if reply.answer else reply.text


def _completion(request: str, model: str, reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": text_of(reply)}
    return {
        "id": request, "object": "chat.completion", "created": int(time.time()), "model": model,
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
        ],
        "usage": _usage(reply.usage), "mainspring": _extension(request, reply),
    }  # fmt: skip


def _extension(request: str, reply: Reply, *, text: str | None = None) -> Extension:
    answer = reply.answer
    return Extension(
        request=request,
        assistant=assistant_of(reply),
        kind=answer.kind if answer else None,
        citations=answer.citations if answer else (),
        passages=tuple(_passage(hit) for hit in answer.hits) if answer else (),
        text=text,
    )


def _passage(hit: Hit) -> Passage:
    chunk = hit.chunk
    return Passage(
        document=chunk.document, title=chunk.title, heading=chunk.heading, chunk=chunk.id, start=chunk.start,
        end=chunk.end, text=chunk.text, score=hit.score,
    )  # fmt: skip


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }  # fmt: skip


def _vector(row: np.ndarray, encoding: str) -> str | list[float]:
    return base64.b64encode(row.tobytes()).decode() if encoding == "base64" else row.tolist()


def _event(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
