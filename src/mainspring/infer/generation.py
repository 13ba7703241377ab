"""The replies to one request on their way out of the engine.

Output -> ids -> StreamDecoder -> stop strings -> tool calls -> Delta -> sink
                                                             -> Reply
"""

import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from msgspec import structs, to_builtins

from mainspring import trace
from mainspring.errors import MainspringError
from mainspring.infer.base import AnyEngine, AnyTicket
from mainspring.infer.replay import Recording
from mainspring.infer.request import Output, Request
from mainspring.infer.sampling import Chosen
from mainspring.infer.stops import StopFilter
from mainspring.infer.tools.base import whole_calls
from mainspring.infer.tools.plan import ToolPlan
from mainspring.protocols import Sink
from mainspring.schema import Ask, Delta, FinishReason, Reply, Span, TokenLogprob, ToolCallDelta, Usage
from mainspring.tokenizer.base import Tokenizer
from mainspring.tokenizer.stream import StreamDecoder, showing


def to_logprob(chosen: Chosen, tokenizer: Tokenizer) -> TokenLogprob:
    """What was chosen, with the texts that the ids stand for."""
    raw = tokenizer.token_bytes(chosen.id)
    text = raw.decode("utf-8", errors="replace")
    others = (Chosen(token_id, logprob, entropy=0.0) for token_id, logprob in chosen.alternatives)
    return TokenLogprob(
        id=chosen.id, text=text, logprob=chosen.logprob, bytes=() if text in tokenizer.special else tuple(raw),
        alternatives=tuple(to_logprob(each, tokenizer) for each in others),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all replies to a request have in common; `prompt` grows as the prompt is scored.

    `own` are those of the request's ids whose scores are told of, `lead` are decoded before what goes on from text.
    """

    request: Request
    ask: Ask
    planned: ToolPlan
    tokenizer: Tokenizer
    attributes: dict[str, Any]
    fingerprint: str
    own: slice
    lead: Sequence[int]
    prompt: list[TokenLogprob] = field(default_factory=list)

    @property
    def scored(self) -> tuple[TokenLogprob | None, ...]:
        return (None, *self.prompt)[self.own]


class Stream:
    """One reply: `answer` is the whole of it, or what it failed with."""

    def __init__(self, shared: Shared, index: int, request: Request, sink: Sink) -> None:
        self.answer = Future[Reply]()
        self.request = request
        self._shared, self._index, self._sink = shared, index, sink
        self._decoder = StreamDecoder(showing(shared.tokenizer, shared.planned.special), shared.lead)
        self._stops = StopFilter(request.sampling.stop)
        self._parser = shared.planned.parser()
        self._calls: list[ToolCallDelta] = []
        self._num_cached = 0
        self._has_prompt = shared.request.sampling.prompt_logprobs is not None
        self._owes_prompt = self._has_prompt and request.ids[shared.own] != ()
        self._chosen: list[Chosen] = []
        self._end: Chosen | None = None
        self._text: list[str] = []
        self._num_characters = 0
        self._scores: list[Span] = []  # of the ids that went out
        self._logprobs: list[TokenLogprob] = []

    def take(self, output: Output) -> bool:
        """Take what a step brought; True where the reply has ended and nothing more is wanted."""
        shared, sampling = self._shared, self.request.sampling
        if output.failure is not None:
            self._sink(Delta(index=self._index, error=output.error))
            self.answer.set_exception(output.failure)
            return False
        shared.prompt.extend(to_logprob(each, shared.tokenizer) for each in output.prompt)
        if self._owes_prompt and len(shared.prompt) == len(self.request.ids) - 1:
            self._owes_prompt = False
            self._sink(Delta(index=self._index, prompt_logprobs=shared.scored))
        self._num_cached = max(self._num_cached, output.num_cached)
        self._chosen += output.chosen
        self._end = output.end
        text = self._decoder.push(output.ids)
        if len(self._chosen) > sampling.min_tokens:
            text = self._stops.push(text)
        self._emit(text)
        stopped_by, most = self._stops.stopped_by, shared.planned.max_calls
        is_over = stopped_by is not None or (most is not None and self._parser.num_whole >= most)
        if is_over:
            self._finish("stop", stopped_by)
        elif output.finish_reason is not None:
            end = output.end.id if output.end is not None else None
            self._finish(output.finish_reason, end if end in sampling.stop_ids else None)
        return is_over

    def _finish(self, reason: FinishReason, stopped_by: str | int | None) -> None:
        self._emit(self._stops.push(self._decoder.flush()) + self._stops.flush(), is_last=True)
        shared, prompt, chosen, calls = self._shared, self.request.ids, self._chosen, whole_calls(self._calls)
        num = max(len(chosen), 1)
        reply = Reply(
            text="".join(self._text), ids=tuple(each.id for each in chosen), prompt_ids=prompt,
            usage=Usage(prompt_tokens=len(prompt), completion_tokens=len(chosen), cached_tokens=self._num_cached),
            finish_reason="tool_calls" if calls and reason == "stop" else reason,
            index=self._index, tool_calls=calls, stopped_by=stopped_by,
            logprob=sum(each.logprob for each in chosen) / num,
            entropy=sum(each.entropy for each in chosen) / num, scores=tuple(self._scores),
            logprobs=tuple(self._logprobs), prompt_logprobs=shared.scored if self._has_prompt else (),
            attributes=shared.attributes | self._recorded(),
        )  # fmt: skip
        self._sink(Delta(index=self._index, reply=reply))
        self.answer.set_result(reply)

    def _recorded(self) -> dict[str, Any]:
        """What a replay needs; of beams, which are many requests, there is none."""
        if self._shared.ask.beams > 1:
            return {trace.SEED: None}
        attributes, end = self._shared.attributes, self._end
        recording = Recording(
            model=attributes[trace.MODEL_ARTIFACT], backend=attributes[trace.ENGINE_BACKEND],
            mode=attributes[trace.ENGINE_MODE], fingerprint=self._shared.fingerprint,
            request=structs.replace(self.request, deadline_s=None), ids=tuple(each.id for each in self._chosen),
            logprobs=tuple(each.logprob for each in self._chosen), end=(end.id, end.logprob) if end else None,
        )  # fmt: skip
        return {trace.SEED: self.request.sampling.seed, trace.RECORDINGS: [to_builtins(recording)]}

    def _emit(self, text: str, *, is_last: bool = False) -> None:
        """Send what may be shown; ids whose text is held back go with the next text, and share its span."""
        parsed = self._parser.push(text)
        shown, calls = parsed.text, parsed.tool_calls
        if is_last:
            shown += self._parser.flush()
        self._calls += calls
        chosen = self._chosen[len(self._scores) :]
        if not (shown or calls or (is_last and chosen)):
            return
        self._text.append(shown)
        start, end = self._num_characters, self._num_characters + len(shown)
        self._num_characters = end
        for each in chosen:
            self._scores.append(Span(start=start, end=end, logprob=each.logprob, entropy=each.entropy))
        scored = chosen if self.request.sampling.logprobs is not None else ()
        logprobs = tuple(to_logprob(each, self._shared.tokenizer) for each in scored)
        self._logprobs += logprobs
        ids = tuple(each.id for each in chosen)
        self._sink(Delta(index=self._index, text=shown, ids=ids, logprobs=logprobs, tool_calls=calls))


class EngineGeneration:
    """All replies to one request; implements `protocols.Generation`.

    `best_of` are computed and the best `n` by mean log-probability are given; where those are fewer, nothing is sent
    before all are done.
    """

    def __init__(self, shared: Shared, sink: Sink | None) -> None:
        self.prompt_ids = shared.request.ids
        self.is_cancelled = False
        self._shared, self._sink = shared, sink or _ignore
        self._ended = threading.Event()
        self._tickets: list[AnyTicket] = []
        num = max(shared.ask.n, shared.ask.best_of)
        self._is_choice = num > shared.ask.n
        own = _ignore if self._is_choice else self._sink
        self.streams = [Stream(shared, *each, own) for each in enumerate(_copies(shared.request, num))]

    def begin(self, engine: AnyEngine) -> None:
        """Hand the requests, one a stream, to the engine."""
        takes = [partial(self.take, stream) for stream in self.streams]
        self._tickets += engine.submit_all([stream.request for stream in self.streams], takes)
        if self.is_cancelled:  # meanwhile, by a sink
            self.cancel()

    def take(self, stream: Stream, output: Output) -> bool:
        """Take what a step brought for one of the streams, in the engine's thread; see Stream.take."""
        if stream.answer.done():
            return True
        try:
            return stream.take(output)
        except Exception as error:
            why = f"The reply was dropped because its receiver failed ({type(error).__name__}: {error})."
            stream.answer.set_exception(MainspringError(why))
            self.cancel()  # whoever listens to one of the replies listens to all
            raise
        finally:
            if all(each.answer.done() for each in self.streams):
                self._end()

    def cancel(self) -> None:
        self.is_cancelled = True
        for ticket in self._tickets:
            ticket.cancel()

    def wait(self) -> Reply:
        return self.replies()[0] if self._is_choice else self.streams[0].answer.result()

    def replies(self) -> list[Reply]:
        self._ended.wait()
        return self._best()

    def _end(self) -> None:
        """All streams have ended: where only the best of them are given, these are sent now."""
        try:
            for reply in self._best() if self._is_choice else ():
                self._sink(Delta(index=reply.index, text=reply.text, ids=reply.ids, logprobs=reply.logprobs))
                self._sink(Delta(index=reply.index, reply=reply))
        except MainspringError as error:
            self._sink(Delta(error=str(error)))
        finally:
            self._ended.set()

    def _best(self) -> list[Reply]:
        """Where more were computed than are wanted, the ids of the others are counted with the first."""
        replies, n = [stream.answer.result() for stream in self.streams], self._shared.ask.n
        if not self._is_choice:
            return replies
        ranked = sorted(replies, key=lambda reply: -reply.logprob)
        spare, best = sum(len(reply.ids) for reply in ranked[n:]), []
        for index, reply in enumerate(ranked[:n]):
            usage = structs.replace(reply.usage, completion_tokens=reply.usage.completion_tokens + spare)
            best.append(structs.replace(reply, index=index, usage=usage))
            spare = 0
        return best


def _ignore(_: Delta) -> None:
    """The sink of who asked for none."""


def _copies(request: Request, num: int) -> Iterator[Request]:
    """The same request with a seed each; the prompt is scored with the first alone."""
    sampling = request.sampling
    first = secrets.randbits(63) if sampling.seed is None else sampling.seed
    for index in range(num):
        yield structs.replace(request, sampling=structs.replace(sampling, seed=seed_of(first, index)))
        sampling = structs.replace(sampling, prompt_logprobs=None)


def seed_of(seed: int, index: int) -> int:
    """The seed of one of several replies: the first has the request's own, the next ones that plus multiples of a
    constant without small factors (Weyl sequence), so that reply i can be asked for alone.
    """
    return seed if index == 0 else (seed + index * 0x9E3779B97F4A7C15) % 2**64
