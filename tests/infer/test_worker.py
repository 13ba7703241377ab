"""The worker's side of the pipe, with the owner's in the test."""

import threading
from multiprocessing import Pipe

import msgspec
import pytest

from conftest import make_tokenizer
from fakes_engine import PLAN, make_model, make_request
from mainspring.infer import wire
from mainspring.infer.request import EngineConfig
from mainspring.infer.worker import Worker
from mainspring.models.save import save


@pytest.fixture
def worker(tmp_path):
    save(make_model(), tmp_path)
    make_tokenizer().save(tmp_path)
    ours, theirs = Pipe()
    start = wire.Start(
        folder=tmp_path, reference="model/tiny@1", config=EngineConfig(num_blocks=64), plan=PLAN
    )
    ours.send_bytes(start.model_dump_json().encode())
    worker = Worker(theirs)
    wire.Ready.model_validate_json(ours.recv_bytes())
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield worker, ours
    ours.close()
    thread.join(20)


def said(connection):
    assert connection.poll(20)
    return msgspec.msgpack.decode(connection.recv_bytes(), type=wire.Said)


def test_a_request_is_told_to_be_taken_before_anything_of_it_is_given(worker):
    worker, owner = worker
    submit, has_given = worker._engine.submit_all, threading.Event()

    def slow(requests, sinks):
        tickets = submit(requests, sinks)
        has_given.wait(0.5)  # the engine is free to be faster than the thread that submits
        return tickets

    worker._engine.submit_all = slow
    worker._engine.after_step = lambda: (worker._pass_on(), has_given.set())
    owner.send_bytes(wire.encode((7, wire.Submit(numbers=(1,), requests=(make_request(5, max_tokens=2),)))))
    first, *pieces = said(owner), said(owner), said(owner)
    assert (first.call, first.kind) == (7, "")
    assert [len(each.pieces) for each in pieces] == [1, 1]
    assert not worker._open


def test_while_an_adapter_is_loaded_others_are_answered(worker):
    worker, owner = worker
    may_end = threading.Event()
    worker._engine.load_adapter = lambda reference, folder: may_end.wait(20)
    owner.send_bytes(wire.encode((1, wire.Adapter(reference="adapter/a@1", folder="a"))))
    owner.send_bytes(wire.encode((2, wire.AskStats())))
    assert said(owner).call == 2
    may_end.set()
    assert said(owner).call == 1


def test_a_worker_whose_engine_fails_tells_of_it_and_ends(worker):
    worker, owner = worker
    worker._engine._backend.step = lambda works: 1 // 0
    owner.send_bytes(wire.encode((7, wire.Submit(numbers=(1,), requests=(make_request(5),)))))
    assert said(owner).kind == ""
    assert "ZeroDivisionError" in said(owner).pieces[0].output.error
    with pytest.raises(EOFError):
        said(owner)
