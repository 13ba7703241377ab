import math
import threading

import pytest
import torch

from fakes_engine import (
    FIXED,
    PLAN,
    Received,
    give_adapter,
    make_model,
    make_request,
    run_alone,
    run_together,
    running,
)
from mainspring.errors import ConfigError, ContextLengthError, MainspringError, OverloadedError
from mainspring.infer.engine import Engine
from mainspring.infer.request import EngineConfig, Request
from mainspring.schema import Sampling

LENGTHS = [1, 2, 5, 15, 16, 17, 31, 33, 47, 64, 90, 127, 129, 150, 180, 200]
MIXED = [make_request(n) for n in LENGTHS] + [make_request(n, seed=n) for n in LENGTHS]


@pytest.fixture(scope="module")
def alone(model):
    return run_alone(model, MIXED)


def count_preemptions(engine):
    counted = []
    give_up = engine._scheduler._give_up_blocks

    def count(sequence):
        if sequence.num_generated:
            counted.append(sequence)
        give_up(sequence)

    engine._scheduler._give_up_blocks = count
    return counted


class Gate:
    """A backend that waits to be let through, then gives every id the same score."""

    name, is_exact, context, max_step_tokens = "gate", True, 1000, 512

    def __init__(self, error=None):
        self.error, self.entered, self.open = error, threading.Event(), threading.Event()

    def step(self, works, adapter):
        self.entered.set()
        assert self.open.wait(20)
        if self.error is not None:
            raise self.error
        return [torch.zeros(288) if work.is_complete else None for work in works]


@pytest.fixture
def gated():
    backend = Gate()
    engine = Engine(backend, EngineConfig(num_blocks=64, max_waiting=4))
    yield backend, engine
    backend.open.set()
    engine.close()


def test_32_requests_at_once_get_the_ids_and_log_probabilities_they_get_alone(model, alone):
    with running(model) as engine:
        assert run_together(engine, MIXED) == alone
        again = [Received() for _ in MIXED]
        tickets = [engine.submit(request, sink) for request, sink in zip(MIXED, again, strict=True)]
        assert [sink.result for sink in again] == alone
        assert sum(ticket.num_cached for ticket in tickets) > 1000


def test_prompts_computed_in_pieces_give_the_same(model, alone):
    with running(model, max_step_tokens=24) as engine:
        assert run_together(engine, MIXED) == alone


def test_preempted_requests_give_the_same(model, alone):
    with running(model, num_blocks=18) as engine:
        preempted = count_preemptions(engine)
        assert run_together(engine, MIXED) == alone
        assert preempted
        assert engine._scheduler._pool.num_available == 17


def test_a_plan_of_one_fixed_size_limits_the_step_and_gives_the_same_in_company(model):
    requests = MIXED[:6] + MIXED[16:22]
    expected = run_alone(model, requests, FIXED)
    with running(model, FIXED) as engine:
        steps = []
        step = engine._backend.step
        engine._backend.step = lambda works, adapter: (
            steps.append(sum(work.num_tokens for work in works)) or step(works, adapter)
        )
        assert run_together(engine, requests) == expected
        assert max(steps) == 8


def test_requests_with_different_adapters_run_together_as_alone():
    model = make_model()
    give_adapter(model, "a", 1)
    give_adapter(model, "b", 2)
    requests = [make_request(n, adapter=adapter) for n in (5, 40) for adapter in ("a", "b", None)]
    expected = run_alone(model, requests)
    with running(model) as engine:
        assert run_together(engine, requests * 3) == expected * 3
    assert len({ids for ids, *_ in expected}) == len(requests)


def test_cancelled_requests_give_their_blocks_back_within_a_step(gated):
    backend, engine = gated
    received = Received()
    ticket = engine.submit(make_request(40, max_tokens=500), received)
    assert backend.entered.wait(20)
    ticket.cancel()
    backend.open.set()
    assert received.result[2] == "cancelled"
    assert len(received.ids) <= 1
    assert engine._scheduler._pool.num_available == 63


def test_an_end_id_ends_the_request_and_is_not_returned(model):
    first, second = run_alone(model, [make_request(9, max_tokens=2)])[0][0]
    request = make_request(9)
    ending = Request(ids=request.ids, sampling=request.sampling, end_ids=(second,))
    with running(model) as engine:
        ids, _, reason, _ = run_together(engine, [ending])[0]
    assert (ids, reason) == ((first,), "stop")


def test_max_tokens_ends_with_length_and_a_sink_can_stop(model):
    with running(model) as engine:
        ids, logprobs, reason, _ = run_together(engine, [make_request(9, max_tokens=3)])[0]
        assert (len(ids), len(logprobs), reason) == (3, 3, "length")
        stopped = Received(stop_after=2)
        engine.submit(make_request(9, max_tokens=50), stopped)
        assert len(stopped.result[0]) == 2
        run_together(engine, [make_request(5)])
        assert len(stopped.ids) == 2


@pytest.mark.parametrize(("length", "max_tokens"), [(0, 1), (249, 8), (300, 1)])
def test_prompts_that_do_not_fit_are_refused(model, length, max_tokens):
    with running(model) as engine, pytest.raises(ContextLengthError):
        engine.submit(make_request(length, max_tokens=max_tokens), Received())


@pytest.mark.parametrize(
    "wrong", [{"temperature": math.nan}, {"top_k": -1}, {"top_p": 0.0}, {"max_tokens": 0}]
)
def test_sampling_out_of_range_is_refused_before_it_reaches_the_engine(model, wrong):
    request = Request(ids=(1,), sampling=Sampling(**wrong))
    with running(model) as engine:
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            engine.submit(request, Received())
        assert engine.is_alive()


def test_a_negative_seed_is_as_good_as_any(model):
    with running(model) as engine:
        first, again = run_together(engine, [make_request(5, seed=-7), make_request(5, seed=-7)])
        assert first == again
        assert first[3] is None


def test_more_requests_than_may_wait_are_refused_and_room_comes_back(gated):
    backend, engine = gated
    sinks = [Received() for _ in range(4)]
    for sink in sinks:
        engine.submit(make_request(3), sink)
    with pytest.raises(OverloadedError):
        engine.submit(make_request(3), Received())
    backend.open.set()
    assert all(sink.result[2] == "length" for sink in sinks)
    assert run_together(engine, [make_request(3)])[0][2] == "length"


def test_a_failing_backend_ends_every_request_with_its_error_and_later_ones_are_refused():
    backend = Gate(RuntimeError("out of memory"))
    engine = Engine(backend, EngineConfig(num_blocks=64))
    sinks = [Received() for _ in range(3)]
    engine.submit(make_request(3), sinks[0])
    assert backend.entered.wait(20)
    for sink in sinks[1:]:
        engine.submit(make_request(4), sink)
    backend.open.set()
    assert all("out of memory" in sink.result[3] for sink in sinks)
    engine._thread.join(20)
    assert not engine.is_alive()
    with pytest.raises(MainspringError, match="out of memory"):
        engine.submit(make_request(3), Received())
    with pytest.raises(MainspringError, match="out of memory"):
        engine.between_steps(lambda: None)
    engine.close()


def test_closing_ends_open_requests_as_cancelled_and_refuses_later_ones(gated):
    backend, engine = gated
    sinks = [Received() for _ in range(3)]
    engine.submit(make_request(3, max_tokens=500), sinks[0])
    assert backend.entered.wait(20)
    engine._inbox.put(None)
    for sink in sinks[1:]:
        engine.submit(make_request(3), sink)
    backend.open.set()
    engine.close()
    assert [sink.result[2] for sink in sinks] == ["cancelled"] * 3
    with pytest.raises(MainspringError, match="closed"):
        engine.submit(make_request(3), Received())


def test_a_sink_that_raises_loses_its_own_request_alone(model):
    calls = []

    def failing(output):
        calls.append(output)
        raise ValueError("broken pipe")

    with running(model) as engine:
        received = Received()
        engine.submit(make_request(20, max_tokens=50), failing)
        engine.submit(make_request(30), received)
        assert received.result[2] == "length"
        assert engine.is_alive()
        assert len(calls) == 1
        assert engine._num_open == 0


def test_changes_between_steps_run_in_the_engine_and_their_errors_come_back(model):
    names = []
    with running(model, PLAN) as engine:
        engine.between_steps(lambda: names.append(threading.current_thread().name))
        with pytest.raises(ZeroDivisionError):
            engine.between_steps(lambda: names.append(1 // 0))
        assert engine.is_alive()
    assert names == ["engine"]
