"""One list of steps that every request takes, whatever dialect it was spoken in.

    before                           call                  after
    authenticate -> route -> check   the model's thread    measure -> trace -> remember

Limits, reservations, guards and caches are steps before; guards of the output and settling money come after.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from mainspring import chat, trace
from mainspring.errors import ConfigError, MainspringError
from mainspring.events import Event
from mainspring.gateway.base import ANSWER, AnswerRecord, Directory, is_text_model
from mainspring.gateway.exchange import PRIORITY, Exchange
from mainspring.gateway.keys import Keys
from mainspring.gateway.meter import Meter
from mainspring.knowledge.spans import spans_of
from mainspring.protocols import Embedder, Sink, TextModel
from mainspring.schema import ALL_THAT_FIT, ChatRequest, Message, Reply, Sampling
from mainspring.trace import Tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """Unit vectors, float32, shape (number of texts, width), and how many token ids were read for them."""

    request: str
    vectors: np.ndarray
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """One score a text, float32, in the texts' order; higher is better."""

    request: str
    scores: np.ndarray


class Pipeline:
    """The only way to a model; thread-safe, and blocking until the model has begun.

    `aliases` are further names of models: what a client calls "gpt-4o" may be any model that is served. An
    alias "*" stands for every name that is not known.
    """

    def __init__(
        self, directory: Directory, tracer: Tracer, keys: Keys, aliases: Mapping[str, str] | None = None
    ) -> None:
        self.keys = keys
        self.meter = Meter()
        self.aliases = dict(aliases or {})
        self._directory = directory
        self._tracer = tracer
        self._before = (self._authenticate, self._route, self._check)
        self._after = (self._measure, self._trace, self._remember)

    def chat(self, request: ChatRequest, sink: Sink | None = None) -> Exchange:
        """Begin the replies; `sink` gets their deltas from the model's thread, a late failure as `Delta.error`.

        Raises:
            AuthenticationError: a key that is not known.
            ChatError: messages in another order than the accepted one.
            NotFoundError: no such model.
            ConfigError: the model cannot do what is asked of it.

        """
        exchange = Exchange(request, sink, self._tracer, self._settle)
        try:
            for step in self._before:
                step(exchange)
            assert exchange.model is not None and exchange.sampling is not None  # noqa: PT018 - _route has set both
            assert exchange.scope is not None, "authentication comes first"
            ask = msgspec.structs.replace(
                request.ask,
                tenant=exchange.scope.tenant,
                priority=request.ask.priority + PRIORITY.get(),
            )
            # A model makes one token at least; the exchange takes away again what was not wanted.
            at_least = max(1, exchange.sampling.max_tokens)
            exchange.start(
                exchange.model, msgspec.structs.replace(exchange.sampling, max_tokens=at_least), ask
            )
        except BaseException as error:
            exchange.finish(error=error)
            raise
        return exchange

    def embed(
        self,
        model: str,
        given: list[str] | list[list[int]],
        key: str | None = None,
        dimensions: int | None = None,
    ) -> Embedding:
        """Unit vectors of texts, or of texts as token ids; the first `dimensions` of each, at unit length again.

        Raises:
            ConfigError: more dimensions than the model has, ids for a model that takes none.

        """
        request = trace.new_request_id()
        names = {trace.OPERATION: "embeddings", trace.MODEL: model}
        with self._tracer.span(f"embeddings {model}", request, **names) as span:
            self.keys.authenticate(key)
            embedder = self._directory.embedder(self.resolve(model, self._directory.embedder_names()))
            if dimensions is not None and dimensions > embedder.width:
                raise ConfigError(
                    f"`dimensions` is {dimensions}; '{model}' makes vectors of {embedder.width}. Ask for fewer."
                )
            texts = _texts(given, model, embedder)
            num_tokens = sum(embedder.count_tokens(texts))
            vectors = embedder.embed(texts)
            if dimensions is not None:
                vectors = vectors[:, :dimensions]
                vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            span.update({trace.INPUT_TOKENS: num_tokens, trace.RESPONSE_MODEL: embedder.name})
        return Embedding(request=request, vectors=vectors, num_tokens=num_tokens)

    def rerank(self, model: str, query: str, texts: list[str], key: str | None = None) -> Ranking:
        """How well texts answer a query."""
        request = trace.new_request_id()
        names = {trace.OPERATION: "rerank", trace.MODEL: model}
        with self._tracer.span(f"rerank {model}", request, **names) as span:
            self.keys.authenticate(key)
            reranker = self._directory.reranker(self.resolve(model, self._directory.reranker_names()))
            scores = reranker.scores(query, texts)
            span.update({trace.RESPONSE_MODEL: reranker.name})
        return Ranking(request=request, scores=scores)

    def text_model(self, name: str, key: str | None = None) -> TextModel:
        """A model that shows its tokens.

        Raises:
            ConfigError: a model that is none of the plain ones.

        """
        scope = self.keys.authenticate(key)
        model = self._directory.chat(self.resolve(name, self._directory.names()), scope)
        if not is_text_model(model):
            raise ConfigError(_plain_only(name, ["raw prompts and its tokens"]))
        return model

    def resolve(self, name: str, known: Sequence[str]) -> str:
        """The served name behind `name`; a served name is never taken for an alias."""
        if name in known:
            return name
        for alias in (name, "*"):
            if self.aliases.get(alias) in known:
                return self.aliases[alias]
        # "*" may serve chat alone; the first of its kind stands in for what it does not know
        return known[0] if known and "*" in self.aliases else self.aliases.get(name, name)

    def _authenticate(self, exchange: Exchange) -> None:
        exchange.scope = self.keys.authenticate(exchange.request.key)
        exchange.span.set(tenant=exchange.scope.tenant)

    def _check(self, exchange: Exchange) -> None:
        request, model, sampling = exchange.request, exchange.model, exchange.sampling
        assert model is not None and sampling is not None  # noqa: PT018 - _route has set both
        if not is_text_model(model):
            beyond = _beyond_chat(request, sampling)
            if beyond:
                raise ConfigError(_plain_only(request.model, beyond))
        if request.prompt is None:
            chat.check(request.messages, open_reply=True, go_on=request.ask.go_on)
        elif not request.prompt and not request.ask.suffix:
            raise ConfigError("The prompt is empty; give at least one character or token id.")

    def _route(self, exchange: Exchange) -> None:
        assert exchange.scope is not None, "authentication comes first"
        name = self.resolve(exchange.request.model, self._directory.names())
        exchange.model = self._directory.chat(name, exchange.scope)
        exchange.meter = self.meter.of(exchange.model.name)
        exchange.meter.begin()
        exchange.sampling = msgspec.structs.replace(
            exchange.model.default_sampling, **exchange.request.overrides
        )
        exchange.span.update(_sampling_attributes(exchange))

    def _settle(self, exchange: Exchange) -> None:
        for step in self._after:
            step(exchange)

    def _measure(self, exchange: Exchange) -> None:
        if exchange.meter is not None:
            replies = exchange.all_replies
            reasons = ["error"] if exchange.error is not None else [reply.finish_reason for reply in replies]
            usages = [reply.usage for reply in replies]
            exchange.meter.end(reasons, time.monotonic() - exchange.started, usages)

    def _trace(self, exchange: Exchange) -> None:
        span, error = exchange.span, exchange.error
        if exchange.reply is not None:
            span.update(_reply_attributes(exchange.all_replies))
        if exchange.first_token_s is not None:
            span.update({trace.TIME_TO_FIRST_S: exchange.first_token_s})
        if error is not None:
            span.set(error=type(error).__name__)
            if isinstance(error, MainspringError):
                span.set(error_message=str(error))
        self._tracer.finish(span)

    def _remember(self, exchange: Exchange) -> None:
        """The answer as feedback and training will read it; the continuation of a raw prompt answers nobody."""
        if exchange.reply is None or exchange.scope is None or exchange.request.prompt is not None:
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
        "gen_ai.request.max_tokens": None if sampling.max_tokens == ALL_THAT_FIT else sampling.max_tokens,
        "gen_ai.request.seed": sampling.seed,
        "gen_ai.request.stop_sequences": list(sampling.stop),
    }


def _reply_attributes(replies: Sequence[Reply]) -> dict[str, Any]:
    first = replies[0]
    attributes = {
        **first.attributes,
        trace.INPUT_TOKENS: first.usage.prompt_tokens,
        trace.OUTPUT_TOKENS: sum(reply.usage.completion_tokens for reply in replies),
        trace.CACHED_TOKENS: first.usage.cached_tokens,
        trace.FINISH_REASONS: [reply.finish_reason for reply in replies],
        trace.PROMPT_IDS: list(first.prompt_ids),
        trace.OUTPUT_IDS: list(first.ids),
    }
    if first.ids:
        attributes |= {trace.LOGPROB: first.logprob, trace.ENTROPY: first.entropy}
        attributes[trace.SPANS] = [msgspec.to_builtins(span) for span in spans_of(first)]
    if first.answer is not None and first.answer.confidence is not None:
        attributes[trace.CONFIDENCE] = first.answer.confidence
    if len(replies) > 1:
        attributes["mainspring.output.all_ids"] = [list(reply.ids) for reply in replies]
        recorded = [each for reply in replies for each in reply.attributes.get(trace.RECORDINGS, ())]
        attributes |= {trace.RECORDINGS: recorded} if recorded else {}
    return attributes


def _beyond_chat(request: ChatRequest, sampling: Sampling) -> list[str]:
    """What of a request only a plain model can do."""
    ask = request.ask
    wanted = {
        "raw prompts": request.prompt is not None,
        "tools": bool(ask.tools) and ask.tool_choice != "none",
        "a constrained output": ask.constraint is not None,
        "going on with a reply that has begun": ask.go_on,
        "more than one reply (n, best_of, beams)": max(ask.n, ask.best_of, ask.beams) > 1,
        "log-probabilities": sampling.logprobs is not None or sampling.prompt_logprobs is not None,
    }
    return [name for name, is_wanted in wanted.items() if is_wanted]


def _texts(given: Sequence[str] | Sequence[list[int]], model: str, embedder: Embedder) -> list[str]:
    texts = [one for one in given if isinstance(one, str)]
    if len(texts) == len(given):
        return texts
    decode = getattr(embedder, "decode", None)
    if decode is None:
        raise ConfigError(f"The model '{model}' takes no token ids; send texts.")
    return [decode(one) for one in given]


def _plain_only(model: str, wanted: Sequence[str]) -> str:
    return (
        f"The model '{model}' answers from documents and does not do {' or '.join(wanted)}. "
        "Leave that out, or ask a plain model; /v1/models lists them."
    )
