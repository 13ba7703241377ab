"""One list of steps that every request takes, whatever dialect it was spoken in.

    before                           call                  after
    authenticate -> check -> route   the model's thread    trace

Limits, reservations, guards and caches are steps before; guards of the output and settling money come after.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from mainspring import chat, trace
from mainspring.errors import MainspringError
from mainspring.events import Event
from mainspring.gateway.base import ANSWER, AnswerRecord, Directory
from mainspring.gateway.exchange import Exchange
from mainspring.gateway.keys import Keys
from mainspring.protocols import Sink
from mainspring.schema import ChatRequest, Message, Reply
from mainspring.trace import Tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """Unit vectors, float32, shape (number of texts, width), and how many token ids were read for them."""

    request: str
    vectors: np.ndarray
    num_tokens: int


class Pipeline:
    """The only way to a model; thread-safe, and blocking until the model has begun."""

    def __init__(self, directory: Directory, tracer: Tracer, keys: Keys) -> None:
        self.keys = keys
        self._directory = directory
        self._tracer = tracer
        self._before = (self._authenticate, self._check, self._route)
        self._after = (self._trace, self._remember)

    def chat(self, request: ChatRequest, sink: Sink | None = None) -> Exchange:
        """Begin a reply; `sink` gets its deltas from the model's thread, a late failure as `Delta.error`.

        Raises:
            AuthenticationError: a key that is not known.
            ChatError: messages in another order than the accepted one.
            NotFoundError: no such model.

        """
        exchange = Exchange(request, sink, self._tracer, self._settle)
        try:
            for step in self._before:
                step(exchange)
            assert exchange.model is not None and exchange.sampling is not None  # noqa: PT018 - _route has set both
            exchange.start(exchange.model, exchange.sampling)
        except BaseException as error:
            exchange.finish(error=error)
            raise
        return exchange

    def embed(self, model: str, texts: list[str], key: str | None = None) -> Embedding:
        """Unit vectors of texts, in order."""
        request = trace.new_request_id()
        names = {trace.OPERATION: "embeddings", trace.MODEL: model}
        with self._tracer.span(f"embeddings {model}", request, **names) as span:
            self.keys.authenticate(key)
            embedder = self._directory.embedder(model)
            num_tokens = sum(embedder.count_tokens(texts))
            vectors = embedder.embed(texts)
            span.update({trace.INPUT_TOKENS: num_tokens, trace.RESPONSE_MODEL: embedder.name})
        return Embedding(request=request, vectors=vectors, num_tokens=num_tokens)

    def _authenticate(self, exchange: Exchange) -> None:
        exchange.scope = self.keys.authenticate(exchange.request.key)
        exchange.span.set(tenant=exchange.scope.tenant)

    def _check(self, exchange: Exchange) -> None:
        chat.check(exchange.request.messages, open_reply=True)

    def _route(self, exchange: Exchange) -> None:
        assert exchange.scope is not None, "authentication comes first"
        exchange.model = self._directory.chat(exchange.request.model, exchange.scope)
        exchange.sampling = msgspec.structs.replace(
            exchange.model.default_sampling, **exchange.request.overrides
        )
        exchange.span.update(_sampling_attributes(exchange))

    def _settle(self, exchange: Exchange) -> None:
        for step in self._after:
            step(exchange)

    def _trace(self, exchange: Exchange) -> None:
        span, error = exchange.span, exchange.error
        if exchange.reply is not None:
            span.update(_reply_attributes(exchange.reply))
        if exchange.first_token_s is not None:
            span.update({trace.TIME_TO_FIRST_S: exchange.first_token_s})
        if error is not None:
            span.set(error=type(error).__name__)
            if isinstance(error, MainspringError):
                span.set(error_message=str(error))
        self._tracer.finish(span)

    def _remember(self, exchange: Exchange) -> None:
        """The answer as feedback and training will read it."""
        if exchange.reply is None or exchange.scope is None:
            return
        record = answer_record(exchange.request, exchange.reply, exchange.scope.tenant)
        self._tracer.put(Event(type=ANSWER, subject=exchange.id, data=record.data()))


def answer_record(request: ChatRequest, reply: Reply, tenant: str) -> AnswerRecord:
    """What the log keeps of a reply; a plain model was shown the messages as they came in."""
    shown = msgspec.convert(
        msgspec.to_builtins(reply.attributes.get(trace.PROMPT_MESSAGES, request.messages)),
        tuple[Message, ...],
    )
    answer = reply.answer
    return AnswerRecord(
        model=request.model,
        messages=request.messages,
        text=answer.text if answer else reply.text,
        kind=answer.kind if answer else None,
        citations=answer.citations if answer else (),
        assistant=assistant_of(reply),
        prompt_messages=shown,
        finish_reason=reply.finish_reason,
        tenant=tenant,
    )


def assistant_of(reply: Reply) -> str | None:
    """The reference of the assistant that answered; None for a plain model."""
    return (reply.answer.assistant if reply.answer else "") or reply.attributes.get(trace.ASSISTANT)


def _sampling_attributes(exchange: Exchange) -> dict[str, Any]:
    assert exchange.model is not None and exchange.sampling is not None  # noqa: PT018 - called by _route alone
    sampling = exchange.sampling
    return {
        trace.RESPONSE_MODEL: exchange.model.name,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.top_k": sampling.top_k,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.seed": sampling.seed,
        "gen_ai.request.stop_sequences": list(sampling.stop),
    }


def _reply_attributes(reply: Reply) -> dict[str, Any]:
    return {
        **reply.attributes,
        trace.INPUT_TOKENS: reply.usage.prompt_tokens,
        trace.OUTPUT_TOKENS: reply.usage.completion_tokens,
        trace.CACHED_TOKENS: reply.usage.cached_tokens,
        trace.FINISH_REASONS: [reply.finish_reason],
        trace.PROMPT_IDS: list(reply.prompt_ids),
        trace.OUTPUT_IDS: list(reply.ids),
    }
