import math
import threading
import time

import msgspec
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
    submit_together,
)
from mainspring.adapt import base as adapters
from mainspring.errors import ConfigError, ContextLengthError, MainspringError, OverloadedError
from mainspring.infer.engine import Engine
from mainspring.infer.request import EngineConfig, Request
from mainspring.infer.sampling import summarize
from mainspring.models.attend import PackedAttend
from mainspring.models.families import llama
from mainspring.schema import Sampling

LENGTHS = [1, 2, 5, 15, 16, 17, 31, 33, 47, 64, 90, 127, 129, 150, 180, 200]
MIXED = [make_request(n) for n in LENGTHS] + [make_request(n, seed=n) for n in LENGTHS]


@pytest.fixture(scope="module")
def alone(model, backend):
    return run_alone(model, MIXED, backend=backend)


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

    name, is_exact, fingerprint, max_step_tokens, grain = "gate", True, "", 512, 1
    model_config = llama.tiny().model_copy(update={"context": 1000})
    summarize = staticmethod(summarize)

    def __init__(self, error=None):
        self.error, self.entered, self.open = error, threading.Event(), threading.Event()

    def step(self, works):
        self.entered.set()
        assert self.open.wait(20)
        if self.error is not None:
            raise self.error
        return torch.zeros(sum(work.num_scored for work in works), 288)


@pytest.fixture
def gated():
    backend = Gate()
    engine = Engine(backend, EngineConfig(num_blocks=64, max_waiting=4))
    yield backend, engine
    backend.open.set()
    engine.close()


def test_32_requests_at_once_get_the_ids_and_log_probabilities_they_get_alone(model, alone, backend):
    with running(model, backend=backend) as engine:
        assert run_together(engine, MIXED) == alone
        again = [Received() for _ in MIXED]
        for request, sink in zip(MIXED, again, strict=True):
            engine.submit(request, sink)
        assert [sink.result for sink in again] == alone
        assert sum(sink.num_cached for sink in again) > 1000


def test_prompts_computed_in_pieces_give_the_same(model, alone, backend):
    with running(model, backend=backend, max_step_tokens=24) as engine:
        assert run_together(engine, MIXED) == alone


def test_preempted_requests_give_the_same(model, alone, backend):
    with running(model, backend=backend, num_blocks=18) as engine:
        preempted = count_preemptions(engine)
        assert run_together(engine, MIXED) == alone
        assert preempted
        assert engine._scheduler.pool.num_available == 17


def test_a_prompt_is_scored_once_though_it_is_computed_twice(model):
    requests = [make_request(150 + length, prompt_logprobs=0) for length in range(4)]
    with running(model, num_blocks=18) as engine:
        sinks = [Received() for _ in requests]
        submit_together(engine, requests, sinks)
        for request, sink in zip(requests, sinks, strict=True):
            assert sink.result[2] == "length"
            told = [each.id for output in sink.outputs for each in output.prompt]
            assert told == list(request.ids[1:])
        assert engine.stats().num_preemptions


def test_a_plan_of_one_fixed_size_limits_the_step_and_gives_the_same_in_company(model):
    requests = MIXED[:6] + MIXED[16:22]
    expected = run_alone(model, requests, FIXED)
    with running(model, FIXED) as engine:
        steps = []
        step = engine._backend.step
        engine._backend.step = lambda works: steps.append(sum(len(work.ids) for work in works)) or step(works)
        assert run_together(engine, requests) == expected
        assert max(steps) == 8


def test_right_and_wrong_drafts_change_nothing(model, alone, backend):
    for ids in ([], [7, 8, 9]):
        with running(model, backend=backend) as engine:
            truth = {
                (request.ids, request.sampling.seed): [*request.ids, *result[0]]
                for request, result in zip(MIXED, alone, strict=True)
            }

            def guess(sequences, tempo, ids=ids, truth=truth):
                for each in sequences:
                    right = truth[each.request.ids, each.request.sampling.seed][len(each.ids) :]
                    each.guess = (ids or right)[
                        : min(each.request.sampling.max_tokens - each.num_generated - 1, 5)
                    ]

            engine._scheduler._guess = guess
            assert run_together(engine, MIXED) == alone
            stats = engine.stats()
            assert stats.draft_tokens > 50
            assert (stats.accepted_tokens > stats.draft_tokens / 2) == (not ids)


def test_requests_for_the_same_prompt_share_it_and_answer_as_alone(model, backend):
    requests = [make_request(37, seed=seed) for seed in range(5)]
    expected = run_alone(model, requests, backend=backend)
    assert len({ids for ids, *_ in expected}) == 5
    with running(model, backend=backend) as engine:
        steps = []
        step = engine._backend.step
        engine._backend.step = lambda works: steps.append(sum(len(work.ids) for work in works)) or step(works)
        sinks = [Received() for _ in requests]
        engine.submit_all(requests, sinks)
        assert [sink.result for sink in sinks] == expected
        assert steps[:2] == [37, 5]
        assert [sink.num_cached for sink in sinks] == [0, 37, 37, 37, 37]


def test_those_who_follow_a_cancelled_request_are_answered_all_the_same(gated):
    backend, engine = gated
    sinks = [Received() for _ in range(3)]
    first, second, _ = engine.submit_all([make_request(30)] * 3, sinks)
    assert backend.entered.wait(20)
    first.cancel()
    second.cancel()
    backend.open.set()
    assert [sink.result[2] for sink in sinks] == ["cancelled", "cancelled", "length"]
    assert engine._scheduler.pool.num_available == 63


def test_the_log_probabilities_of_a_prompt_are_those_of_its_ids(model):
    request = make_request(150, prompt_logprobs=2)
    with running(model) as engine:
        run_together(engine, [make_request(150)])
        received = Received()
        engine.submit(request, received)
        assert received.result[2] == "length"
    found = [each for output in received.outputs for each in output.prompt]
    ids = torch.tensor(request.ids)
    hidden = model(ids, torch.arange(150), PackedAttend([150]))
    logp = torch.log_softmax(model.logits(hidden).double(), -1)[:-1]
    assert [each.id for each in found] == list(request.ids[1:])
    assert torch.tensor([each.logprob for each in found]) == pytest.approx(
        logp.gather(1, ids[1:, None])[:, 0], abs=1e-5
    )
    best = logp.topk(2).indices.tolist()
    assert [[token_id for token_id, _ in each.alternatives] for each in found] == best


def test_a_reply_that_is_not_done_in_time_is_given_up(gated):
    backend, engine = gated
    late, other = Received(), Received()
    engine.submit(msgspec.structs.replace(make_request(3), deadline_s=0.01), late)
    engine.submit(make_request(3), other)
    assert backend.entered.wait(20)
    time.sleep(0.02)
    backend.open.set()
    assert "deadline of 0.01 s" in late.result[3]
    assert other.result[2] == "length"


def test_what_was_generated_before_is_gone_on_with(model, alone, backend):
    for request, (ids, logprobs, *_) in list(zip(MIXED, alone, strict=True))[::5]:
        with running(model, backend=backend) as engine:
            rest = run_together(engine, [msgspec.structs.replace(request, generated=ids[:3])])[0]
        assert (rest[0], rest[1]) == (ids[3:], logprobs[3:])


def test_requests_with_different_adapters_run_together_as_alone(backend):
    model = make_model()
    give_adapter(model, "a", 1)
    give_adapter(model, "b", 2)
    requests = [make_request(n, adapter=adapter) for n in (5, 40) for adapter in ("a", "b", None)]
    expected = run_alone(model, requests, backend=backend)
    with running(model, backend=backend) as engine:
        assert run_together(engine, requests * 3) == expected * 3
    assert len({ids for ids, *_ in expected}) == len(requests)


def test_an_adapter_that_is_taken_off_ends_its_own_requests_even_those_that_just_come_in(backend):
    model = make_model()
    give_adapter(model, "a", 1)
    with running(model, backend=backend) as engine:
        sinks = [Received() for _ in range(4)]
        dropped = (lambda: adapters.remove(model, "a")) if backend == "torch_eager" else (
            lambda: engine._backend.drop_adapter("a")
        )  # fmt: skip

        def come_in_beside_the_drop():
            engine.submit_all([make_request(5, adapter="a")] * 2, sinks[:2])
            engine._inbox.put(dropped)
            engine.submit(make_request(6, adapter="a"), sinks[2])
            engine.submit(make_request(5), sinks[3])

        engine.between_steps(come_in_beside_the_drop)
        assert all("adapter a has been taken off" in sink.result[3] for sink in sinks[:3])
        assert sinks[3].result[2] == "length"


def test_cancelled_requests_give_their_blocks_back_within_a_step(gated):
    backend, engine = gated
    received = Received()
    ticket = engine.submit(make_request(40, max_tokens=500), received)
    assert backend.entered.wait(20)
    ticket.cancel()
    backend.open.set()
    assert received.result[2] == "cancelled"
    assert len(received.ids) <= 1
    assert engine._scheduler.pool.num_available == 63


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


@pytest.mark.parametrize("change", [{"ids": (1, 288)}, {"ids": (-1, 5)}, {"generated": (3, 1 << 40)}])
def test_ids_that_the_model_does_not_know_are_refused(model, backend, change):
    with running(model, backend=backend) as engine:
        with pytest.raises(ConfigError, match="the model knows 0 to 287"):
            engine.submit(msgspec.structs.replace(make_request(3), **change), Received())
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
    for sink in sinks[1:]:
        engine.submit(make_request(3), sink)
    closing = threading.Thread(target=engine.close)
    closing.start()
    while engine.is_alive():
        time.sleep(0.001)
    backend.open.set()
    closing.join()
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


def test_a_sink_may_end_its_request_while_the_prompt_is_scored(model):
    found, follower = [], Received()
    asked = [make_request(200, prompt_logprobs=0), make_request(200)]
    with running(model) as engine:
        engine.submit_all(asked, [lambda output: not found.append(output), follower])
        assert follower.result == run_alone(model, asked[1:])[0]
        assert engine._num_open == 0
    assert [(len(output.prompt), output.chosen) for output in found] == [(64, ())]


def test_changes_between_steps_run_in_the_engine_and_their_errors_come_back(model):
    names = []
    with running(model, PLAN) as engine:
        engine.between_steps(lambda: names.append(threading.current_thread().name))
        with pytest.raises(ZeroDivisionError):
            engine.between_steps(lambda: names.append(1 // 0))
        assert engine.is_alive()
    assert names == ["engine"]
