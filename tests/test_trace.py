from pathlib import Path

import pytest

from mainspring import events, trace
from mainspring.database import Database
from mainspring.events import Event, EventLog
from mainspring.trace import Tracer, new_request_id


@pytest.fixture
def log(tmp_path: Path):
    log = EventLog(Database(tmp_path / "log.db", [events.MIGRATION]))
    yield log
    log.close()


def spans(log: EventLog, request: str) -> dict[str, dict]:
    log.flush()
    return {event.data["name"]: event.data for event in log.find(type="span", subject=request)}


def test_spans_nest_by_block_and_inner_ones_end_first(log: EventLog):
    tracer = Tracer(log)
    with tracer.span("request", "req-1"), tracer.span("call", "req-1"):
        pass
    found = spans(log, "req-1")
    assert list(found) == ["call", "request"]
    assert found["request"]["parent"] is None
    assert found["call"]["parent"] == found["request"]["span"]
    assert 0 <= found["call"]["duration_s"] <= found["request"]["duration_s"]


def test_siblings_have_the_same_parent(log: EventLog):
    tracer = Tracer(log)
    with tracer.span("request", "req-1"):
        for name in ("authenticate", "call"):
            with tracer.span(name, "req-1"):
                pass
    found = spans(log, "req-1")
    assert found["authenticate"]["parent"] == found["call"]["parent"] == found["request"]["span"]


def test_attributes_set_late_are_written(log: EventLog):
    with Tracer(log).span("call", "req-1", model="smollm2") as span:
        span.set(done=True)
        span.update({trace.OUTPUT_TOKENS: 7})
    assert spans(log, "req-1")["call"]["attributes"] == {
        "model": "smollm2",
        "done": True,
        trace.OUTPUT_TOKENS: 7,
    }


def test_a_failed_block_is_recorded_by_its_error_and_fails_on(log: EventLog):
    tracer = Tracer(log)
    with pytest.raises(KeyError), tracer.span("call", "req-1"):
        raise KeyError("x")
    assert spans(log, "req-1")["call"]["attributes"] == {"error": "KeyError"}
    with tracer.span("next", "req-1"):  # the failed one is nobody's parent
        pass
    assert spans(log, "req-1")["next"]["parent"] is None


def test_a_span_that_outlives_its_block_is_written_when_it_is_finished(log: EventLog):
    tracer = Tracer(log)
    with tracer.span("request", "req-1"):
        stream = tracer.begin("stream", "req-1", first=1)
    assert list(spans(log, "req-1")) == ["request"]
    tracer.finish(stream)
    found = spans(log, "req-1")
    assert found["stream"]["parent"] == found["request"]["span"]


def test_an_event_stands_behind_the_spans_that_were_finished_before_it(log: EventLog):
    tracer = Tracer(log)
    with tracer.span("call", "req-1"):
        pass
    tracer.put(Event(type="answer", subject="req-1", data={}))
    log.flush()
    assert [event.type for event in log.find(subject="req-1")] == ["span", "answer"]


def test_request_ids_differ():
    assert len({new_request_id() for _ in range(1000)}) == 1000
