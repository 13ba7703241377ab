"""Beam search as a driver of the engine: every step asks for one id of every beam with its alternatives.

What beams share lies in the prefix cache, so a step computes the last block of each at most. The engine sees ordinary
requests, which it mixes with all others.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from mainspring.errors import ConfigError, MainspringError
from mainspring.infer.base import AnyEngine, AnyTicket
from mainspring.infer.generation import EngineGeneration, Shared
from mainspring.infer.request import Output, Request
from mainspring.infer.sampling import MAX_ALTERNATIVES, Chosen
from mainspring.infer.tools.plan import ToolPlan
from mainspring.protocols import Sink
from mainspring.schema import Ask, Sampling


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
        if not self.running:
            return True
        best = self.running[0]
        is_full = len(self.done) >= self._width
        return is_full and best.score / len(best.chosen) ** self._penalty <= self.done[-1].score

    def step(self, found: Sequence[Chosen]) -> None:
        """Take what the model says of the next id of every running beam."""
        length = len(self.running[0].chosen) + 1
        every = [
            (beam.score + logprob, beam, each, token_id, logprob)
            for beam, each in zip(self.running, found, strict=True)
            for token_id, logprob in each.alternatives
        ]
        every.sort(key=lambda item: -item[0])
        self.running, done = [], list(self.done)
        for place, (score, beam, each, token_id, logprob) in enumerate(every[: self.num_alternatives]):
            step = Chosen(token_id, logprob, each.entropy, each.alternatives)
            grown = (*beam.chosen, step)
            if token_id not in self._ends and length < self._max_tokens:
                self.running.append(Beam(grown, score))
            elif place < self._width:
                done.append(Beam(grown, score / length**self._penalty))
        del self.running[self._width :]
        self.done = sorted(done, key=lambda beam: -beam.score)[: self._width]


class BeamGeneration(EngineGeneration):
    """The best hypotheses as replies; they are sent when the search is over.

    Beams go by the unmodified distribution, so what only concerns drawing (temperature, top_k ..., seed) has no use;
    what would change the distribution is refused.
    """

    def __init__(self, shared: Shared, ask: Ask, planned: ToolPlan, sink: Sink | None) -> None:
        _check(ask, planned, shared.sampling)
        super().__init__(shared, ask.n, ask.n, planned.parser, sink)
        self._shared, self._ask = shared, ask
        self._tickets: list[AnyTicket] = []
        self._since = time.monotonic()

    def begin(self, engine: AnyEngine, requests: Sequence[Request]) -> None:
        """Begin the search; its first step is asked for here, so that what cannot be asked raises at once."""
        (request,) = requests
        request.check_fits(engine.context)
        search = Search(self._ask.beams, request.sampling.max_tokens, request.ends, self._ask.length_penalty)
        first = self._ask_engine(engine, request, search)
        threading.Thread(
            target=self._run, args=(engine, request, search, first), name="beams", daemon=True
        ).start()

    def cancel(self) -> None:
        super().cancel()
        for ticket in self._tickets:
            ticket.cancel()

    def _run(
        self, engine: AnyEngine, request: Request, search: Search, answers: list[Future[Chosen]]
    ) -> None:
        try:
            while True:
                wait(answers)
                search.step([each.result() for each in answers])
                if search.is_over or self.is_cancelled:
                    break
                answers = self._ask_engine(engine, request, search)
            self._give(search, request)
        except Exception as error:  # noqa: BLE001 - a receiver's as well: who listens to one reply listens to all
            failed = (
                error
                if isinstance(error, MainspringError)
                else MainspringError(f"The search failed ({type(error).__name__}: {error}).")
            )
            said = Output(finish_reason="cancelled") if self.is_cancelled else Output.failed(failed)
            for stream in self.streams:
                with suppress(Exception):
                    stream.take(said)

    def _ask_engine(self, engine: AnyEngine, request: Request, search: Search) -> list[Future[Chosen]]:
        number = min(search.num_alternatives, MAX_ALTERNATIVES)
        left = None
        if request.deadline_s is not None:
            left = max(request.deadline_s - (time.monotonic() - self._since), 0)
        one = msgspec.structs.replace(
            request, sampling=Sampling(max_tokens=1, logprobs=number), end_ids=(), deadline_s=left
        )
        answers: list[Future[Chosen]] = []
        self._tickets = []
        for beam in search.running:
            ids = (*request.ids, *(each.id for each in beam.chosen))
            answers.append(Future())
            self._tickets += engine.submit_all(
                [msgspec.structs.replace(one, ids=ids)], [partial(_take, answers[-1])]
            )
        return answers

    def _give(self, search: Search, request: Request) -> None:
        done = [] if self.is_cancelled else list(search.done)
        for stream in self.streams:
            if not done:
                stream.take(Output(finish_reason="cancelled"))
                continue
            for output in _outputs(done.pop(0), request):
                if stream.take(output):
                    break


def _take(answer: Future[Chosen], output: Output) -> bool:
    """The one id that a beam's request was for."""
    if output.chosen:
        answer.set_result(output.chosen[0])
    else:
        answer.set_exception(output.failure or MainspringError("The search was called off."))
    return True


def _outputs(beam: Beam, request: Request) -> Iterator[Output]:
    """A hypothesis as the engine would have handed it out."""
    number = request.sampling.logprobs or 0
    chosen = [replace(each, alternatives=each.alternatives[:number]) for each in beam.chosen]
    is_end = chosen[-1].id in request.ends
    for each in chosen[: len(chosen) - is_end]:
        yield Output(chosen=(each,))
    yield Output(end=chosen[-1], finish_reason="stop") if is_end else Output(finish_reason="length")


def _check(ask: Ask, planned: ToolPlan, sampling: Sampling) -> None:
    most = MAX_ALTERNATIVES // 4
    plain = Sampling()
    names = ("repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "min_tokens")
    changed = [
        name for name in (*names, "prompt_logprobs") if getattr(sampling, name) != getattr(plain, name)
    ]
    if ask.beams > most or not ask.n <= ask.beams:
        raise ConfigError(f"`beams` is {ask.beams} and `n` {ask.n}; n to {most} beams can be searched.")
    if ask.best_of > ask.n or planned.constraint is not None or changed:
        what = changed or (["best_of"] if ask.best_of > ask.n else ["a constraint"])
        raise ConfigError(
            f"Beam search does not go together with {', '.join(what)}. Leave that out, or `beams`."
        )
