"""Beam search as a driver of the engine: every step asks for one id of every beam with its alternatives.

What beams share lies in the prefix cache, so a step computes the last block of each at most. The engine sees ordinary
requests, which it mixes with all others.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from heapq import nlargest
from operator import attrgetter, itemgetter

import msgspec

from mainspring.errors import ConfigError, MainspringError
from mainspring.infer.base import AnyEngine
from mainspring.infer.generation import EngineGeneration, Shared
from mainspring.infer.request import Output, Request, hand_out
from mainspring.infer.sampling import MAX_ALTERNATIVES, Chosen
from mainspring.protocols import Sink
from mainspring.schema import Sampling

MAX_BEAMS = MAX_ALTERNATIVES // 4
UNCHANGED = ("repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "min_tokens",
             "prompt_logprobs")  # fmt: skip
"""Fields of a sampling that must be as they are by default."""


@dataclass(frozen=True, slots=True)
class Beam:
    """The ids of a hypothesis as they were chosen, and the sum of their log-probabilities."""

    chosen: tuple[Chosen, ...] = ()
    score: float = 0.0


class Search:
    """Which hypotheses go on and which are done; the rules are those of transformers' generate(num_beams).

    The `width` best continuations that end, or reach `max_tokens`, are done and get their score divided by
    length ** penalty (GNMT, arXiv:1609.08144, eq. 14, without its constants), the end's id counted; the best others
    go on. It is over when the best that goes on could not, at its present length, beat the worst of `width` done.
    """

    def __init__(self, width: int, max_tokens: int, ends: Sequence[int], penalty: float) -> None:
        self.running = [Beam()]
        self.done: list[Beam] = []
        self.num_alternatives = max(2, 1 + len(ends)) * width
        self._width, self._max_tokens, self._ends, self._penalty = width, max_tokens, frozenset(ends), penalty

    @property
    def is_over(self) -> bool:
        if not self.running or len(self.done) < self._width:
            return not self.running
        best = self.running[0]
        return best.score / len(best.chosen) ** self._penalty <= self.done[-1].score

    def step(self, found: Sequence[Chosen]) -> None:
        """Take what the model says of the next id of every running beam."""
        length = len(self.running[0].chosen) + 1
        every = (
            (beam.score + logprob, beam, Chosen(token_id, logprob, each.entropy, each.alternatives))
            for beam, each in zip(self.running, found, strict=True)
            for token_id, logprob in each.alternatives
        )
        running, done = [], list(self.done)
        best = nlargest(self.num_alternatives, every, key=itemgetter(0))
        for place, (score, beam, chosen) in enumerate(best):
            grown = (*beam.chosen, chosen)
            if chosen.id not in self._ends and length < self._max_tokens:
                running.append(Beam(grown, score))
            elif place < self._width:
                done.append(Beam(grown, score / length**self._penalty))
        self.running = running[: self._width]
        self.done = nlargest(self._width, done, key=attrgetter("score"))


class BeamGeneration(EngineGeneration):
    """The best hypotheses as replies; they are sent when the search is over.

    Beams go by the unmodified distribution, so what only concerns drawing (temperature, top_k ..., seed) has no use;
    what would change the distribution is refused.
    """

    def __init__(self, shared: Shared, sink: Sink | None) -> None:
        _check(shared)
        super().__init__(shared, sink)
        request, ask = shared.request, shared.ask
        self._request = request
        self._search = Search(ask.beams, request.sampling.max_tokens, request.ends, ask.length_penalty)
        self._since = time.monotonic()

    def begin(self, engine: AnyEngine) -> None:
        """Begin the search; its first step is asked for here, so that what cannot be asked raises at once."""
        self._request.check_fits(engine.context)
        first = self._ask_engine(engine)
        threading.Thread(target=self._run, args=(engine, first), name="beams", daemon=True).start()

    def _run(self, engine: AnyEngine, answers: list[Future[Chosen]]) -> None:
        try:
            while True:
                self._search.step([each.result() for each in answers])
                if self._search.is_over or self.is_cancelled:
                    break
                answers = self._ask_engine(engine)
            done = iter([] if self.is_cancelled else self._search.done)
            for stream in self.streams:
                any(self.take(stream, output) for output in _outputs(next(done, None), self._request))
        except Exception as error:  # noqa: BLE001 - a receiver's as well: who listens to one reply listens to all
            other = MainspringError(f"The search failed ({type(error).__name__}: {error}).")
            failed = Output.failed(error if isinstance(error, MainspringError) else other)
            said = Output(finish_reason="cancelled") if self.is_cancelled else failed
            for stream in self.streams:
                hand_out(partial(self.take, stream), said)

    def _ask_engine(self, engine: AnyEngine) -> list[Future[Chosen]]:
        request, waited_s = self._request, time.monotonic() - self._since
        left = None if request.deadline_s is None else max(request.deadline_s - waited_s, 0)
        sampling = Sampling(max_tokens=1, logprobs=min(self._search.num_alternatives, MAX_ALTERNATIVES))
        answers = [Future[Chosen]() for _ in self._search.running]
        self._tickets = []
        for beam, answer in zip(self._search.running, answers, strict=True):
            ids = (*request.ids, *(each.id for each in beam.chosen))
            one = msgspec.structs.replace(request, ids=ids, sampling=sampling, end_ids=(), deadline_s=left)
            self._tickets += engine.submit_all([one], [partial(_take, answer)])
        return answers


def _take(answer: Future[Chosen], output: Output) -> bool:
    """The one id that a beam's request was for."""
    if output.chosen:
        answer.set_result(output.chosen[0])
    else:
        answer.set_exception(output.failure or MainspringError("The search was called off."))
    return True


def _outputs(beam: Beam | None, request: Request) -> Iterator[Output]:
    """A hypothesis as the engine would have handed it out."""
    if beam is None:
        yield Output(finish_reason="cancelled")
        return
    number = request.sampling.logprobs or 0
    chosen = [replace(each, alternatives=each.alternatives[:number]) for each in beam.chosen]
    is_end = chosen[-1].id in request.ends
    for each in chosen[: len(chosen) - is_end]:
        yield Output(chosen=(each,))
    yield Output(end=chosen[-1], finish_reason="stop") if is_end else Output(finish_reason="length")


def _check(shared: Shared) -> None:
    ask, sampling, plain = shared.ask, shared.request.sampling, Sampling()
    if ask.beams > MAX_BEAMS or not ask.n <= ask.beams:
        raise ConfigError(f"`beams` is {ask.beams} and `n` {ask.n}; n to {MAX_BEAMS} beams can be searched.")
    wrong = [name for name in UNCHANGED if getattr(sampling, name) != getattr(plain, name)]
    wrong += ["best_of"] if ask.best_of > ask.n else []
    wrong += ["a constraint"] if shared.request.constraint is not None else []
    if wrong:
        raise ConfigError(
            f"Beam search does not go together with {', '.join(wrong)}. Leave that out, or `beams`."
        )
