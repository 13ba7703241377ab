"""The engine as a ChatModel: messages in, text out.

messages -> chat.render -> Request -> engine -> ids -> StreamDecoder -> stop strings -> Delta
"""

import threading
from collections.abc import Sequence

from mainspring import chat, trace
from mainspring.errors import MainspringError
from mainspring.infer.engine import Engine, Ticket
from mainspring.infer.kernels import KernelPlan
from mainspring.infer.request import Output, Request
from mainspring.infer.stops import StopFilter
from mainspring.protocols import Sink
from mainspring.schema import Delta, FinishReason, Message, Reply, Sampling, Usage
from mainspring.tokenizer.base import Tokenizer
from mainspring.tokenizer.stream import StreamDecoder


class EngineChat:
    """One model of an engine, with one of its adapters or none; implements `protocols.ChatModel`."""

    def __init__(
        self,
        name: str,
        engine: Engine,
        tokenizer: Tokenizer,
        plan: KernelPlan,
        *,
        model: str,
        adapter: str | None = None,
        sampling: Sampling | None = None,
    ) -> None:
        self.name, self.default_sampling = name, sampling or Sampling()
        self._engine, self._tokenizer, self._plan = engine, tokenizer, plan
        self._model, self._adapter = model, adapter

    def start(
        self, messages: Sequence[Message], sampling: Sampling, sink: Sink | None = None
    ) -> "EngineReply":
        """Begin a reply; see `protocols.ChatModel.start`."""
        ids = tuple(chat.render(messages, self._tokenizer, open_reply=True).ids)
        request = Request(ids=ids, sampling=sampling, end_ids=self._tokenizer.end_ids, adapter=self._adapter)
        attributes = {
            trace.ENGINE_MODE: self._plan.mode,
            trace.ENGINE_BACKEND: self._engine.backend_name,
            trace.KERNEL_PLAN: self._plan.fingerprint,
            trace.MODEL_ARTIFACT: self._model,
            trace.ADAPTER: self._adapter,
        }
        reply = EngineReply(ids, sampling, self._tokenizer, attributes, sink)
        reply.begin(self._engine, request)
        return reply

    def reply(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        return self.start(messages, sampling).wait()

    def replies(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Reply]:
        """All at once into the engine, which batches them."""
        return [started.wait() for started in [self.start(messages, sampling) for messages in conversations]]


class EngineReply:
    """A reply on its way out of the engine; implements `protocols.Generation`."""

    def __init__(
        self,
        prompt_ids: tuple[int, ...],
        sampling: Sampling,
        tokenizer: Tokenizer,
        attributes: dict[str, str | int | None],
        sink: Sink | None,
    ) -> None:
        self.prompt_ids = prompt_ids
        self._sink, self._attributes = sink, attributes
        self._decoder, self._stops = StreamDecoder(tokenizer), StopFilter(sampling.stop)
        self._ids: list[int] = []
        self._logprobs: list[float] = []
        self._text: list[str] = []
        self._ticket: Ticket | None = None
        self._begun, self._done = threading.Event(), threading.Event()
        self._reply: Reply | None = None
        self._error: str | None = None

    def begin(self, engine: Engine, request: Request) -> None:
        self._ticket = engine.submit(request, self._take)
        self._attributes[trace.SEED] = self._ticket.seed
        self._begun.set()

    def cancel(self) -> None:
        if self._ticket is not None:
            self._ticket.cancel()

    def wait(self) -> Reply:
        self._done.wait()
        if self._error is not None:
            raise MainspringError(self._error)
        assert self._reply is not None
        return self._reply

    def _take(self, output: Output) -> bool:
        """An output of the engine, in its thread; True when a stop string has ended the reply."""
        self._begun.wait()
        try:
            return self._read(output)
        except Exception as error:
            self._error = (
                f"The reply was dropped because its receiver failed ({type(error).__name__}: {error})."
            )
            raise
        finally:
            if self._reply is not None or self._error is not None:
                self._done.set()

    def _read(self, output: Output) -> bool:
        if output.error is not None:
            self._error = output.error
            self._send(Delta(error=output.error))
            return False
        self._ids += output.ids
        self._logprobs += output.logprobs
        self._emit(self._stops.push(self._decoder.push(output.ids)))
        if self._stops.has_stopped or output.finish_reason is not None:
            self._finish("stop" if self._stops.has_stopped else output.finish_reason)
        return self._stops.has_stopped

    def _finish(self, reason: FinishReason | None) -> None:
        assert self._ticket is not None
        assert reason is not None
        self._emit(self._stops.push(self._decoder.flush()) + self._stops.flush())
        usage = Usage(
            prompt_tokens=len(self.prompt_ids),
            completion_tokens=len(self._ids),
            cached_tokens=self._ticket.num_cached,
        )
        logprob = sum(self._logprobs) / len(self._logprobs) if self._logprobs else 0.0
        self._reply = Reply(
            text="".join(self._text), ids=tuple(self._ids), prompt_ids=self.prompt_ids, finish_reason=reason,
            usage=usage, logprob=logprob, attributes=dict(self._attributes),
        )  # fmt: skip
        self._send(Delta(reply=self._reply))

    def _emit(self, text: str) -> None:
        if text:
            self._text.append(text)
            self._send(Delta(text=text))

    def _send(self, delta: Delta) -> None:
        if self._sink is not None:
            self._sink(delta)
