"""One request on its way through the pipeline, and the reply on its way back."""

import threading
import time
from collections.abc import Callable

from mainspring import trace
from mainspring.errors import MainspringError
from mainspring.knowledge.scope import Scope
from mainspring.protocols import ChatModel, Generation, Sink
from mainspring.schema import ChatRequest, Delta, Reply, Sampling


class Exchange:
    """What each step finds out, for the steps after it; to the caller it is the Generation.

    `settle` is called once, when the reply is whole or has failed, by whichever thread learns of it first and
    before the sink hears of it: what the client can ask about is in the log by then.
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
        self.span = tracer.begin(
            f"chat {request.model}", self.id, **{trace.OPERATION: "chat", trace.MODEL: request.model}
        )
        self.scope: Scope | None = None
        self.model: ChatModel | None = None
        self.sampling: Sampling | None = None
        self.first_token_s: float | None = None
        self.reply: Reply | None = None
        self.error: BaseException | None = None
        self._sink = sink
        self._settle = settle
        self._generation: Generation | None = None
        self._lock = threading.Lock()
        self._started = time.monotonic()

    def start(self, model: ChatModel, sampling: Sampling) -> None:
        """Let the model begin; deltas may arrive before this returns."""
        self._generation = model.start(self.request.messages, sampling, self._receive)

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        return self._generation.prompt_ids if self._generation else ()

    def cancel(self) -> None:
        if self._generation:
            self._generation.cancel()

    def wait(self) -> Reply:
        """Block until the reply is whole, or raise what the model raised."""
        assert self._generation is not None, "an exchange is handed out only after its model has begun"
        try:
            reply = self._generation.wait()
        except BaseException as error:
            self.finish(error=error)
            raise
        self.finish(reply=reply)
        return reply

    def finish(self, *, reply: Reply | None = None, error: BaseException | None = None) -> None:
        """Take note of how it ended; only the first call counts, and the others wait until it is noted."""
        with self._lock:
            if self.reply is None and self.error is None:
                self.reply, self.error = reply, error
                self._settle(self)

    def _receive(self, delta: Delta) -> None:
        if self.first_token_s is None and delta.text:
            self.first_token_s = time.monotonic() - self._started
        if delta.reply is not None:
            self.finish(reply=delta.reply)
        elif delta.error is not None:
            self.finish(error=MainspringError(delta.error))
        if self._sink is not None:
            self._sink(delta)
