import msgspec
import pytest

from fakes_engine import make_model, make_request, run_alone, running
from mainspring.infer.replay import Recording, replay


def record(request, result, **changes):
    ids, logprobs, *_ = result
    fields = {
        "model": "model/tiny@1",
        "backend": "torch_eager",
        "mode": "exact",
        "fingerprint": "",
        "request": request,
    }
    return Recording(**fields | {"ids": ids, "logprobs": logprobs} | changes)


@pytest.fixture(scope="module")
def recordings():
    model = make_model()
    requests = [make_request(n, seed=seed) for n in (3, 20, 50) for seed in (None, 4)]
    return [
        record(request, result) for request, result in zip(requests, run_alone(model, requests), strict=True)
    ]


def test_recorded_requests_are_equal_when_they_run_again_together(recordings):
    through_the_log = msgspec.json.decode(msgspec.json.encode(recordings), type=list[Recording])
    with running(make_model(), max_step_tokens=24) as engine:
        assert replay(through_the_log, engine) == [None] * 6


def test_the_first_difference_is_told(recordings):
    good = recordings[0]
    wrong_id = msgspec.structs.replace(good, ids=(*good.ids[:3], 5, *good.ids[4:]))
    wrong_bits = msgspec.structs.replace(
        good, logprobs=(*good.logprobs[:2], good.logprobs[2] + 1e-12, *good.logprobs[3:])
    )
    longer = msgspec.structs.replace(good, ids=(*good.ids, 1), logprobs=(*good.logprobs, -1.0))
    with running(make_model()) as engine:
        found = replay([wrong_id, wrong_bits, longer], engine)
    assert [each.partition(":")[0] for each in found] == ["id 3", "id 2", "id 8"]
    assert found[0].startswith("id 3: recorded 5 (")
    assert found[2].endswith("now nothing")


def test_a_reply_that_its_reader_ended_is_compared_as_far_as_it_went(recordings):
    cut = msgspec.structs.replace(
        recordings[1], ids=recordings[1].ids[:3], logprobs=recordings[1].logprobs[:3]
    )
    with running(make_model()) as engine:
        assert replay([cut], engine) == [None]


def test_the_end_token_is_compared_too():
    model = make_model()
    ids, logprobs, *_ = run_alone(model, [make_request(9, max_tokens=2)])[0]
    request = msgspec.structs.replace(make_request(9), end_ids=(ids[1],))
    recording = record(request, (ids[:1], logprobs[:1]), end=(ids[1], logprobs[1]))
    with running(model) as engine:
        assert replay([recording], engine) == [None]
        assert replay([msgspec.structs.replace(recording, end=(ids[1], -1.0))], engine)[0].startswith(
            "id 1: "
        )


def test_a_reply_that_was_ended_before_its_first_id_is_equal(recordings):
    none = msgspec.structs.replace(recordings[0], ids=(), logprobs=())
    with running(make_model()) as engine:
        assert replay([none], engine) == [None]
