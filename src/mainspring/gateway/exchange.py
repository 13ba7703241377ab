"""One request on its way through the pipeline, and its replies on their way back."""

import threading
import time
from collections.abc import Callable
from contextvars import ContextVar

import msgspec

from mainspring import trace
from mainspring.errors import MainspringError
from mainspring.gateway.base import is_text_model
from mainspring.gateway.meter import ModelMeter
from mainspring.knowledge.scope import Scope
from mainspring.protocols import ChatModel, Generation, Sink
from mainspring.schema import Ask, ChatRequest, Delta, Reply, Sampling

CLIENT_REQUEST: ContextVar[str | None] = ContextVar("client_request", default=None)  # the id a client gave
PRIORITY: ContextVar[int] = ContextVar("priority", default=0)  # of whoever asks; a request's own is added


class Exchange:
    """What each step finds out, for the steps after it; to the caller it is the Generation.

    `settle` is called once, when every reply is whole or one has failed, by whichever thread learns of it first
    and before the sink hears of it: what the client can ask about is in the log by then.
    """

    def __init__(
        self,
        request: ChatRequest,
        sink: Sink | None,
        tracer: trace.Tracer,
        settle: Callable[["Exchange"], None],
    ) -> None:
        self.id = trace.new_request_id()
        self.request = request
        operation = "chat" if request.prompt is None else "text_completion"
        self.span = tracer.begin(
            f"{operation} {request.model}",
            self.id,
            **{trace.OPERATION: operation, trace.MODEL: request.model},
        )
        if request.prompt_artifact is not None:
            self.span.update({trace.PROMPT: request.prompt_artifact})
        if CLIENT_REQUEST.get() is not None:
            self.span.set(client_request=CLIENT_REQUEST.get())
        self.scope: Scope | None = None
        self.model: ChatModel | None = None
        self.sampling: Sampling | None = None
        self.meter: ModelMeter | None = None
        self.first_token_s: float | None = None
        self.error: BaseException | None = None
        self.started = time.monotonic()
        self._replies: dict[int, Reply] = {}
        self._last: dict[int, float] = {}
        self._sink = sink
        self._settle = settle
        self._generation: Generation | None = None
        self._lock = threading.Lock()
        self._is_settled = False

    def start(self, model: ChatModel, sampling: Sampling, ask: Ask) -> None:
        """Let the model begin; deltas may arrive before this returns."""
        prompt, messages = self.request.prompt, self.request.messages
        if not is_text_model(model):
            # Tools come this far only where none may be called; an assistant takes not even those.
            ask = msgspec.structs.replace(ask, tools=())
            self._generation = model.start(messages, sampling, self._receive, ask=ask)
        elif prompt is None:
            self._generation = model.start(messages, sampling, self._receive, ask=ask)
        else:
            self._generation = model.complete(prompt, sampling, self._receive, ask=ask)

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        return self._generation.prompt_ids if self._generation else ()

    @property
    def is_done(self) -> bool:
        return self._is_settled

    @property
    def reply(self) -> Reply | None:
        """The first reply, once all are whole."""
        return self._replies.get(0) if len(self._replies) == self.request.ask.n else None

    @property
    def all_replies(self) -> list[Reply]:
        """The replies that are whole, by index."""
        return [self._replies[index] for index in sorted(self._replies)]

    def cancel(self) -> None:
        if self._generation:
            self._generation.cancel()

    def wait(self) -> Reply:
        """Block until every reply is whole, and return the first; or raise what the model raised."""
        assert self._generation is not None, "an exchange is handed out only after its model has begun"
        try:
            one = self.request.ask.n == 1
            replies = [self._generation.wait()] if one else self._generation.replies()
        except BaseException as error:
            self.finish(error=error)
            raise
        for reply in replies:
            self.finish(reply=reply)
        return self._replies[0]

    def finish(self, *, reply: Reply | None = None, error: BaseException | None = None) -> None:
        """Take note of how it ended; only the first end counts, and the others wait until it is noted."""
        with self._lock:
            if self._is_settled:
                return
            self.error = error
            if reply is not None:
                self._replies[reply.index] = self._as_asked(reply)
            if error is not None or len(self._replies) == self.request.ask.n:
                self._is_settled = True
                self._settle(self)

    def _as_asked(self, reply: Reply) -> Reply:
        """Without the one token that a model had to make where none was wanted; see Pipeline."""
        if self.sampling is None or self.sampling.max_tokens > 0 or reply.finish_reason == "cancelled":
            return reply
        usage = msgspec.structs.replace(reply.usage, completion_tokens=0)
        return msgspec.structs.replace(
            reply, text="", ids=(), logprobs=(), tool_calls=(), finish_reason="length", usage=usage
        )

    def _receive(self, delta: Delta) -> None:
        if delta.reply is not None:
            self.finish(reply=delta.reply)
            delta = msgspec.structs.replace(delta, reply=self._replies.get(delta.index, delta.reply))
        elif delta.error is not None:
            self.finish(error=MainspringError(delta.error))
        elif not delta.prompt_logprobs:  # which are no token of the reply
            if self.sampling is not None and self.sampling.max_tokens == 0:
                return
            self._time(delta)
        if self._sink is not None:
            self._sink(delta)

    def _time(self, delta: Delta) -> None:
        now = time.monotonic()
        num_tokens = len(delta.ids) or 1
        if self.first_token_s is None:
            self.first_token_s = now - self.started
            if self.meter:
                self.meter.first_token_s.observe(self.first_token_s)
        elif self.meter and delta.index in self._last:
            self.meter.inter_token_s.observe((now - self._last[delta.index]) / num_tokens)
        self._last[delta.index] = now
