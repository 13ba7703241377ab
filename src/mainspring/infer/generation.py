"""The replies to one request on their way out of the engine.

Output -> ids -> StreamDecoder -> stop strings -> tool calls -> Delta -> sink
                                                             -> Reply
"""

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mainspring import trace
from mainspring.errors import MainspringError
from mainspring.infer.base import AnyEngine, AnyTicket
from mainspring.infer.replay import Recording
from mainspring.infer.request import Output, Request
from mainspring.infer.sampling import Chosen
from mainspring.infer.stops import StopFilter
from mainspring.infer.tools.base import Parser, whole_calls
from mainspring.protocols import Sink
from mainspring.schema import Delta, FinishReason, Reply, Sampling, Span, TokenLogprob, ToolCallDelta, Usage
from mainspring.tokenizer.base import Tokenizer
from mainspring.tokenizer.stream import Decoder, StreamDecoder


def to_logprob(chosen: Chosen, tokenizer: Tokenizer) -> TokenLogprob:
    """What was chosen, with the texts that the ids stand for."""
    others = tuple(_token(*each, tokenizer) for each in chosen.alternatives)
    return msgspec.structs.replace(_token(chosen.id, chosen.logprob, tokenizer), alternatives=others)


def _token(token_id: int, logprob: float, tokenizer: Tokenizer) -> TokenLogprob:
    raw = tokenizer.token_bytes(token_id)
    return TokenLogprob(
        id=token_id, text=raw.decode("utf-8", errors="replace"), logprob=logprob, bytes=tuple(raw)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all replies to a request have in common.

    `prompt` grows as the prompt is scored; after `max_calls` of tools a reply is over.
    """

    prompt_ids: tuple[int, ...]
    sampling: Sampling
    tokenizer: Tokenizer
    decoder: Decoder
    attributes: dict[str, Any]
    fingerprint: str
    max_calls: int | None = None
    prompt: list[TokenLogprob | None] = field(default_factory=list)


class Stream:
    """One reply. `take` is called from the engine's thread; `ended` once, after the reply or its failure is there."""

    def __init__(
        self, shared: Shared, index: int, parser: Parser, sink: Sink | None, ended: Callable[[], None]
    ) -> None:
        self.reply: Reply | None = None
        self.error: MainspringError | None = None
        self.ticket: AnyTicket | None = None
        self.request: Request | None = None
        self.index = index
        self._shared, self._sink, self._ended = shared, sink, ended
        self._decoder, self._stops = StreamDecoder(shared.decoder), StopFilter(shared.sampling.stop)
        self._parser = parser
        self._calls: list[ToolCallDelta] = []
        self._chosen: list[Chosen] = []
        self._text: list[str] = []
        self._sent: list[int] = []  # how many ids there were when each piece of text went out
        self._num_sent = 0
        self._end: tuple[int, float] | None = None

    def take(self, output: Output) -> bool:
        """Take what a step brought; True where the reply has ended and nothing more is wanted."""
        if self.is_over:
            return True
        try:
            return self._read(output)
        except Exception as error:
            self.error = MainspringError(
                f"The reply was dropped because its receiver failed ({type(error).__name__}: {error})."
            )
            raise
        finally:
            if self.is_over:
                self._ended()

    @property
    def is_over(self) -> bool:
        return self.reply is not None or self.error is not None

    def whole(self) -> Reply:
        """The reply of a stream that is over, or the error that it ended with, raised."""
        if self.error is not None:
            raise self.error
        assert self.reply is not None
        return self.reply

    def _read(self, output: Output) -> bool:
        shared = self._shared
        if output.error is not None:
            self.error = output.failure
            self._send(Delta(index=self.index, error=output.error))
            return False
        shared.prompt.extend(to_logprob(each, shared.tokenizer) for each in output.prompt)
        if shared.sampling.max_tokens == 0 and (output.chosen or output.end):
            self._finish("length", None)
            return True
        self._chosen += output.chosen
        if output.end is not None:
            self._end = (output.end.id, output.end.logprob)
        text = self._decoder.push(output.ids)
        if len(self._chosen) > shared.sampling.min_tokens:
            text = self._stops.push(text)
        self._emit(text)
        stopped_by = self._stops.stopped_by
        is_over = shared.max_calls is not None and self._parser.num_whole >= shared.max_calls
        if stopped_by is not None or is_over:
            self._finish("stop", stopped_by)
        elif output.finish_reason is not None:
            is_asked = output.end is not None and output.end.id in shared.sampling.stop_ids
            self._finish(output.finish_reason, output.end.id if output.end is not None and is_asked else None)
        return stopped_by is not None or is_over

    def _finish(self, reason: FinishReason, stopped_by: str | int | None) -> None:
        shared, chosen = self._shared, self._chosen
        self._emit(self._stops.push(self._decoder.flush()) + self._stops.flush(), is_last=True)
        calls = whole_calls(self._calls)
        num, num_cached = max(len(chosen), 1), self.ticket.num_cached if self.ticket is not None else 0
        scored = self._chosen if shared.sampling.logprobs is not None else []
        seed = self.ticket.seed if self.ticket is not None else None
        self.reply = Reply(
            text="".join(self._text), ids=tuple(each.id for each in chosen), prompt_ids=shared.prompt_ids,
            finish_reason="tool_calls" if calls and reason == "stop" else reason,
            usage=Usage(
                prompt_tokens=len(shared.prompt_ids), completion_tokens=len(chosen), cached_tokens=num_cached
            ),
            index=self.index, tool_calls=calls, stopped_by=stopped_by,
            logprob=sum(each.logprob for each in chosen) / num,
            entropy=sum(each.entropy for each in chosen) / num, scores=tuple(self._scores()),
            logprobs=tuple(to_logprob(each, shared.tokenizer) for each in scored),
            prompt_logprobs=(None, *shared.prompt) if shared.sampling.prompt_logprobs is not None else (),
            attributes=shared.attributes | {trace.SEED: seed} | self._recorded(seed),
        )  # fmt: skip
        self._send(Delta(index=self.index, reply=self.reply))

    def _scores(self) -> Iterator[Span]:
        """A span an id; ids whose text went out together, such as halves of a character, share theirs."""
        start = first = 0
        for text, last in zip(self._text, self._sent, strict=True):
            end = start + len(text)
            for each in self._chosen[first:last]:
                yield Span(start=start, end=end, logprob=each.logprob, entropy=each.entropy)
            start, first = end, last

    def _recorded(self, seed: int | None) -> dict[str, Any]:
        """What a replay needs; of beams, which are many requests, there is none."""
        if self.request is None:
            return {}
        sampling = msgspec.structs.replace(self.request.sampling, seed=seed)
        recording = Recording(
            model=self._shared.attributes[trace.MODEL_ARTIFACT], backend=self._shared.attributes[trace.ENGINE_BACKEND],
            mode=self._shared.attributes[trace.ENGINE_MODE], fingerprint=self._shared.fingerprint,
            request=msgspec.structs.replace(self.request, sampling=sampling, deadline_s=None),
            ids=tuple(each.id for each in self._chosen), logprobs=tuple(each.logprob for each in self._chosen),
            end=self._end,
        )  # fmt: skip
        return {trace.RECORDINGS: [msgspec.to_builtins(recording)]}

    def _emit(self, text: str, *, is_last: bool = False) -> None:
        """Send what may be shown; ids whose text is held back go with the next text."""
        parsed = self._parser.push(text)
        shown, calls = parsed.text, parsed.tool_calls
        if is_last:
            shown += self._parser.flush()
        self._calls += calls
        ids = self._chosen[self._num_sent :]
        if not (shown or calls or (is_last and ids)):
            return
        self._text.append(shown)
        self._num_sent = len(self._chosen)
        self._sent.append(self._num_sent)
        if self._sink is not None:
            scored = ids if self._shared.sampling.logprobs is not None else []
            logprobs = tuple(to_logprob(each, self._shared.tokenizer) for each in scored)
            plain_ids = tuple(each.id for each in ids)
            self._send(
                Delta(index=self.index, text=shown, ids=plain_ids, logprobs=logprobs, tool_calls=calls)
            )

    def _send(self, delta: Delta) -> None:
        if self._sink is not None:
            self._sink(delta)


class EngineGeneration:
    """All replies to one request; implements `protocols.Generation`.

    `num` are computed and the best `num_kept` by mean log-probability are given; where those are fewer, nothing is sent
    before all are done.
    """

    def __init__(
        self, shared: Shared, num: int, num_kept: int, parser: Callable[[], Parser], sink: Sink | None
    ) -> None:
        self.prompt_ids = shared.prompt_ids
        self._num_kept, self._sink = num_kept, sink or (lambda _: None)
        self._begun, self._first, self._all = threading.Event(), threading.Event(), threading.Event()
        self.is_cancelled = False
        self._kept: list[Reply] = []
        own = sink if num_kept == num else None
        self.streams = [Stream(shared, index, parser(), own, self._end) for index in range(num)]

    def begin(self, engine: AnyEngine, requests: Sequence[Request]) -> None:
        """Hand the requests, one a stream, to the engine."""
        takes = [self._taker(stream) for stream in self.streams]
        try:
            tickets = engine.submit_all(requests, takes)
            for stream, ticket, request in zip(self.streams, tickets, requests, strict=True):
                stream.ticket, stream.request = ticket, request
        finally:  # whatever happens, the thread that calls all sinks must not wait for ever
            self._begun.set()

    def cancel(self) -> None:
        self.is_cancelled = True
        for stream in self.streams:
            if stream.ticket is not None:
                stream.ticket.cancel()

    def wait(self) -> Reply:
        self._first.wait()
        if self._num_kept == len(self.streams):
            return self.streams[0].whole()
        return self.replies()[0]

    def replies(self) -> list[Reply]:
        self._all.wait()
        whole = [stream.whole() for stream in self.streams]
        return whole if self._num_kept == len(whole) else self._kept

    def _taker(self, stream: Stream) -> Callable[[Output], bool]:
        def take(output: Output) -> bool:
            self._begun.wait()
            try:
                return stream.take(output)
            except Exception:
                self.cancel()  # whoever listens to one of the replies listens to all
                raise

        return take

    def _end(self) -> None:
        """One more stream has ended."""
        if all(stream.is_over for stream in self.streams):
            try:
                self._choose()
            finally:
                self._first.set()
                self._all.set()
        elif self.streams[0].is_over:
            self._first.set()

    def _choose(self) -> None:
        """Give the best, where more were computed than are wanted; the others' ids are counted with the first."""
        if self._num_kept == len(self.streams):
            return
        failed = next((stream.error for stream in self.streams if stream.error is not None), None)
        if failed is not None:
            self._sink(Delta(error=str(failed)))
            return
        replace = msgspec.structs.replace
        ranked = sorted((stream.whole() for stream in self.streams), key=lambda reply: -reply.logprob)
        spare = sum(len(reply.ids) for reply in ranked[self._num_kept :])
        for index, reply in enumerate(ranked[: self._num_kept]):
            used = reply.usage.completion_tokens + (spare if index == 0 else 0)
            usage = replace(reply.usage, completion_tokens=used)
            self._kept.append(replace(reply, index=index, usage=usage))
        for index, reply in enumerate(self._kept):  # all are there, should the sink fail
            self._sink(Delta(index=index, text=reply.text, ids=reply.ids, logprobs=reply.logprobs))
            self._sink(Delta(index=index, reply=reply))


def seed_of(seed: int | None, index: int) -> int:
    """The seed of one of several replies: the first has the request's own, the next ones that plus multiples of a
    constant without small factors (Weyl sequence), so that reply i can be asked for alone.
    """
    first = secrets.randbits(63) if seed is None else seed
    return first if index == 0 else (first + index * 0x9E3779B97F4A7C15) % 2**64
