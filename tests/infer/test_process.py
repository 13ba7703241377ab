"""The engine in a process of its own, and what happens when that process is killed."""

import math
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from conftest import make_tokenizer
from fakes_engine import PLAN, Received, give_adapter, make_model, make_request, run_alone
from mainspring.adapt import store
from mainspring.errors import ConfigError, MainspringError, MissingExtraError, OverloadedError
from mainspring.infer import process, wire
from mainspring.infer.process import EngineProcess
from mainspring.infer.request import EngineConfig
from mainspring.models.save import save
from mainspring.schema import Constraint

pytestmark = pytest.mark.slow

CONFIG = EngineConfig(num_blocks=256, max_waiting=64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save(make_model(), folder)
    make_tokenizer().save(folder)
    return folder


@pytest.fixture(scope="module")
def shared(folder):
    engine = EngineProcess(folder, "model/tiny@1", PLAN, CONFIG)
    yield engine
    engine.close()


@pytest.fixture
def engine(folder):
    engine = EngineProcess(folder, "model/tiny@1", PLAN, CONFIG)
    yield engine
    engine.close()


class Slow(Received):
    """Lets somebody know of the first id, and takes its time, so that the rest is still to come."""

    def __init__(self):
        super().__init__()
        self.begun = threading.Event()

    def __call__(self, output):
        self.begun.set()
        return super().__call__(output)


def submit(engine, requests):
    sinks = [Slow() for _ in requests]
    return sinks, [
        engine.submit_all([request], [sink])[0] for request, sink in zip(requests, sinks, strict=True)
    ]


def test_it_answers_as_the_engine_in_this_process(shared):
    requests = [make_request(n, seed=seed) for n in (5, 40) for seed in (None, 3)]
    sinks, _ = submit(shared, requests)
    assert [sink.result for sink in sinks] == run_alone(make_model(), requests)
    assert shared.stats().generated_tokens >= 32
    again, _ = submit(shared, requests[-1:])
    assert again[0].result == sinks[-1].result
    assert again[0].num_cached == 32


def test_refusals_keep_their_kind(shared):
    with pytest.raises(ConfigError, match="top_p"):
        shared.submit_all([make_request(3, top_p=0.0)], [Received()])
    wrong = msgspec.structs.replace(make_request(3), constraint=Constraint(kind="regex", value="("))
    with pytest.raises(ConfigError, match="regex"):
        shared.submit_all([wrong], [Received()])
    with pytest.raises(OverloadedError) as refused:
        shared.submit_all([make_request(3)] * 65, [Received() for _ in range(65)])
    assert refused.value.retry_after_s >= 1


def test_a_missing_package_of_the_process_is_named_here():
    refused = wire.refusal(1, MissingExtraError("llguidance", "serve", "Constrained output"))
    with pytest.raises(MissingExtraError, match="llguidance"):
        refused.checked()


def test_cancelled_requests_end_and_give_their_room_back(shared):
    sinks = [Slow() for _ in range(16)]
    tickets = shared.submit_all([make_request(20, max_tokens=200, seed=n) for n in range(16)], sinks)
    assert sinks[0].begun.wait(30)
    for ticket in tickets:
        ticket.cancel()
    assert {sink.result[2] for sink in sinks} == {"cancelled"}
    assert shared.stats().num_running == 0


def test_adapters_come_and_go(shared, tmp_path):
    model = make_model()
    give_adapter(model, "trained", 1)
    store.save(model, "trained", tmp_path)
    request = make_request(9, adapter="adapter/a@1")
    shared.load_adapter("adapter/a@1", tmp_path)
    sinks, _ = submit(shared, [request])
    give_adapter(other := make_model(), "adapter/a@1", 1)
    assert sinks[0].result == run_alone(other, [request])[0]
    shared.drop_adapter("adapter/a@1")
    with pytest.raises(MainspringError, match="adapter/a@1"):
        shared.submit_all([request], [Received()])


def test_streams_go_on_where_a_killed_process_stopped_and_new_requests_are_served(engine):
    requests = [make_request(n, seed=n, max_tokens=120) for n in (5, 20, 40)]
    expected = run_alone(make_model(), requests)
    sinks, _ = submit(engine, requests)
    assert sinks[0].begun.wait(30)
    first = engine._life.process.pid
    os.kill(first, signal.SIGKILL)
    assert [sink.result for sink in sinks] == expected
    end = time.monotonic() + 60
    while engine._life.process.pid == first and time.monotonic() < end:
        time.sleep(0.01)
    assert engine._life.process.pid != first
    after, _ = submit(engine, requests[:1])
    assert after[0].result == expected[0]


def test_what_is_gone_on_with_has_what_is_left_of_its_deadline(shared, monkeypatch):
    sent = []
    taken = wire.Done(call=1)
    monkeypatch.setattr(
        shared._life, "ask", lambda message: sent.append(message.requests[0].deadline_s) or taken
    )
    for limit_s, age_s in ((None, 3), (100, 30), (2, 3)):
        request = msgspec.structs.replace(make_request(3), deadline_s=limit_s)
        ticket = process.RemoteTicket(shared, 1, request, Received())
        ticket.since -= age_s
        shared._go_on(ticket, shared._life)
    assert sent == [None, pytest.approx(70, abs=5), 0]


def test_a_request_that_comes_while_the_process_starts_again_is_worked_on_once(engine):
    requests = [make_request(n, seed=n, max_tokens=100) for n in (5, 20, 40)]
    expected = run_alone(make_model(), requests)
    sinks, _ = submit(engine, requests[:1])
    assert sinks[0].begun.wait(30)
    os.kill(engine._life.process.pid, signal.SIGKILL)
    while engine.is_alive():
        time.sleep(0.001)
    later, _ = submit(engine, requests[1:])
    assert [sink.result for sink in (*sinks, *later)] == expected


def test_an_adapter_that_is_gone_ends_its_requests_and_no_others(engine, tmp_path):
    model = make_model()
    give_adapter(model, "trained", 1)
    store.save(model, "trained", tmp_path / "adapter")
    engine.load_adapter("adapter/a@1", tmp_path / "adapter")
    requests = [make_request(9, max_tokens=120, adapter=name) for name in (None, "adapter/a@1")]
    sinks, _ = submit(engine, requests)
    assert all(sink.begun.wait(30) for sink in sinks)
    shutil.rmtree(tmp_path / "adapter")
    os.kill(engine._life.process.pid, signal.SIGKILL)
    assert sinks[0].result == run_alone(make_model(), requests[:1])[0]
    assert "adapter/a@1" in sinks[1].result[3]
    with pytest.raises(MainspringError):
        engine.load_adapter("adapter/a@1", tmp_path / "adapter")


def test_a_limit_that_is_none_reaches_the_process():
    start = wire.Start(folder=Path("x"), reference="r", config=EngineConfig(max_slowdown=math.inf), plan=None)
    assert wire.Start.model_validate_json(start.model_dump_json()) == start


def test_a_request_that_is_taken_too_late_is_called_off(engine, monkeypatch):
    os.kill(engine._life.process.pid, signal.SIGSTOP)
    try:
        with monkeypatch.context() as patch:
            patch.setitem(EngineProcess._ask.__kwdefaults__, "limit_s", 0.2)
            with pytest.raises(MainspringError, match="has not answered"):
                engine.submit_all([make_request(5, seed=1, max_tokens=240)], [Received()])
    finally:
        os.kill(engine._life.process.pid, signal.SIGCONT)
    (sink,), _ = submit(engine, [make_request(6, seed=1, max_tokens=240)])
    assert sink.result[2] == "length"
    assert engine.stats().generated_tokens < 400


def test_a_closed_engine_lets_its_process_end_by_itself(folder):
    engine = EngineProcess(folder, "model/tiny@1", PLAN, CONFIG)
    sinks, _ = submit(engine, [make_request(20, max_tokens=200, seed=1)])
    assert sinks[0].begun.wait(30)
    engine.close()
    assert engine._life.process.returncode == 0
    assert sinks[0].result[2] == "cancelled"


def test_a_process_that_is_started_while_the_engine_is_closed_ends_too(folder, monkeypatch):
    engine = EngineProcess(folder, "model/tiny@1", PLAN, CONFIG)
    take = process.spare.take

    def late():
        engine.close()
        return take()

    monkeypatch.setattr(process.spare, "take", late)
    os.kill(engine._life.process.pid, signal.SIGKILL)
    end = time.monotonic() + 20
    while not engine._failure and time.monotonic() < end:
        time.sleep(0.01)
    assert "closed" in engine._failure
    assert engine._life.process.poll() is not None


def test_a_process_that_does_not_read_keeps_nobody_waiting(engine):
    large = msgspec.structs.replace(make_request(5), ids=(1,) * 1_000_000)  # more than the pipe holds
    os.kill(engine._life.process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(2) as pool:
        try:
            sent = pool.submit(engine.submit_all, [large], [Received()])
            while not engine._life.calls:
                time.sleep(0.001)
            assert "not answered for 2 s" in str(pool.submit(engine.stats).exception(20))
        finally:
            os.kill(engine._life.process.pid, signal.SIGKILL)
        assert "died" in str(sent.exception(20))


def test_a_process_that_dies_again_and_again_is_given_up_and_nothing_hangs(engine):
    sinks, _ = submit(engine, [make_request(5, seed=1, max_tokens=240)])
    for _ in range(40):
        if not engine.is_alive() and engine._failure:
            break
        try:
            os.kill(engine._life.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        time.sleep(0.5)
    assert "died" in (sinks[0].result[3] or "died")
    before = time.monotonic()
    with pytest.raises(MainspringError, match="not up: its process died"):
        engine.submit_all([make_request(3)], [Received()])
    assert time.monotonic() - before < 30  # it would have waited for a minute
