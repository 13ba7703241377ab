"""Models with states in the engine: their blocks keep the states, so prefixes and forks hold for them too."""

import pytest

from fakes_engine import PLAN, Received, lively, make_request, run_alone, run_together, running
from mainspring.errors import ConfigError
from mainspring.infer.kernels import probe
from mainspring.infer.request import EngineConfig, Request, Sequence
from mainspring.infer.scheduler import Work
from mainspring.infer.seats import TorchSeat
from mainspring.infer.states import rounds
from mainspring.models.generate import generate
from mainspring.models.save import save

STATEFUL = ["mamba2", "jamba", "qwen3_next", "lstm"]
LENGTHS = [1, 15, 16, 17, 40, 61]
MIXED = [make_request(n) for n in LENGTHS] + [make_request(n, seed=n) for n in LENGTHS]


def make_sequence(num_computed, blocks, num_new):
    request = make_request(num_computed + num_new)
    sequence = Sequence(request=request, sink=Received(), seed=0, ids=list(request.ids), blocks=blocks)
    sequence.num_computed = num_computed
    return Work(sequence, request.ids[num_computed:], 1)


def test_tokens_go_through_states_in_order_and_none_across_a_border():
    works = [make_sequence(0, [5], 2), make_sequence(3, [7, 8], 3)]
    stepwise = [(each.rows_R.tolist(), each.before, each.after) for each in rounds(works, 4, 1)]
    assert stepwise == [([0, 2], [0, 7], [5, 7]), ([1, 3], [5, 7], [5, 8]), ([4], [8], [8])]
    whole = [(each.rows_R.tolist(), each.length, each.before, each.after) for each in rounds(works, 4, 100)]
    assert whole == [([0, 1], 2, [0], [5]), ([2], 1, [7], [7]), ([3, 4], 2, [7], [8])]


@pytest.mark.slow
@pytest.mark.parametrize("name", STATEFUL)
def test_answers_are_those_of_the_plain_cache_and_the_same_in_any_company(name):
    model = lively(name)
    plan = probe(model)
    alone = run_alone(model, MIXED, plan)
    assert [ids for ids, *_ in alone[: len(LENGTHS)]] == [
        tuple(generate(model, request.ids, 8)) for request in MIXED[: len(LENGTHS)]
    ]
    for sizes in ({}, {"max_step_tokens": 24}, {"num_blocks": 13}, {"prefix_cache": False}):
        with running(model, plan, **sizes) as engine:
            assert run_together(engine, MIXED) == alone
            assert engine.stats().draft_tokens == 0
            if "num_blocks" in sizes and name in (
                "jamba",
                "qwen3_next",
            ):  # others let go of blocks behind them
                assert engine.stats().num_preemptions > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", STATEFUL)
def test_a_cached_prefix_gives_the_same_ids_and_log_probabilities(name):
    model = lively(name)
    plan = probe(model)
    prefix = make_request(40).ids
    asked = [
        Request(ids=(*prefix, *range(10, 10 + more)), sampling=make_request(1, seed=more).sampling)
        for more in (1, 5, 9)
    ]
    expected = run_alone(model, asked, plan)
    with running(model, plan) as engine:
        assert [run_together(engine, [each])[0] for each in asked] == expected
        assert engine.stats().prefix_hits == 2 * 32
        assert run_together(engine, asked) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", STATEFUL)
def test_answers_that_share_a_prompt_go_on_from_its_state_each_by_itself(name):
    model = lively(name)
    plan = probe(model)
    requests = [make_request(37, seed=seed) for seed in range(4)]
    expected = run_alone(model, requests, plan)
    with running(model, plan) as engine:
        sinks = [Received() for _ in requests]
        engine.submit_all(requests, sinks)
        assert [sink.result for sink in sinks] == expected
        assert [sink.num_cached for sink in sinks] == [0, 37, 37, 37]


def test_states_that_memory_cannot_hold_are_refused_with_what_to_set(tmp_path):
    save(lively("mamba2"), tmp_path)
    with pytest.raises(ConfigError, match="Set fewer and longer blocks"):
        TorchSeat(tmp_path, "model/m@1", PLAN, EngineConfig(num_blocks=10**9))
