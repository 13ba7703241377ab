"""The engine serves every family whose config says so: alone, together and in pieces, to the last bit."""

import pytest
import torch

from fakes_engine import FIXED, PLAN, lively, make_request, run_alone, run_together, running
from mainspring.adapt import base as adapters
from mainspring.adapt import lora
from mainspring.infer.kernels import probe
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import FAMILIES, family

pytestmark = pytest.mark.slow

SERVED = [name for name in FAMILIES if family(name).tiny().is_served]
LENGTHS = [1, 7, 16, 30, 61]


def greedy(model, ids, count):
    """The next ids by whole forward passes."""
    said = list(ids)
    for _ in range(count):
        hidden = model(torch.tensor(said), torch.arange(len(said)), PackedAttend([len(said)]))
        said.append(int(model.logits(hidden[-1:]).argmax()))
    return tuple(said[len(ids) :])


@pytest.mark.parametrize("name", SERVED)
def test_greedy_ids_equal_those_of_whole_passes(name):
    model = lively(name)
    requests = [make_request(length) for length in LENGTHS]
    with running(model) as engine:
        found = [ids for ids, *_ in run_together(engine, requests)]
    assert found == [greedy(model, request.ids, 8) for request in requests]
    assert len(set(found)) > 1


@pytest.mark.parametrize("name", SERVED)
def test_answers_are_the_same_alone_together_and_in_pieces(name):
    model = lively(name)
    plan = probe(model)
    requests = [make_request(length) for length in LENGTHS] + [make_request(n, seed=n) for n in LENGTHS]
    alone = run_alone(model, requests, plan)
    for max_step_tokens in (512, 24):
        with running(model, plan, max_step_tokens=max_step_tokens) as engine:
            assert run_together(engine, requests) == alone


@pytest.mark.parametrize("name", ["mixtral", "deepseek_v3"])
def test_experts_and_latents_answer_the_same_where_products_have_one_size_alone(name):
    model = lively(name)
    requests = [make_request(length) for length in LENGTHS]
    alone = run_alone(model, requests, FIXED)
    with running(model, FIXED) as engine:
        assert run_together(engine, requests) == alone
    assert [ids for ids, *_ in alone] == [greedy(model, request.ids, 8) for request in requests]


@pytest.mark.parametrize("name", ["mixtral", "deepseek_v3"])
def test_an_adapter_of_experts_and_latents_answers_the_same_alone_and_together(name):
    model = lively(name)
    targets = ("kv_up", "down", "o") if name == "deepseek_v3" else ("q", "gate", "up", "down")
    lora.add(model, lora.Lora(rank=8, targets=targets), "mine")
    with torch.no_grad():
        for pair in lora.pairs(model, "mine").values():
            pair.b_OR.normal_(std=0.3)
    model.requires_grad_(False)
    requests = [make_request(length, adapter=adapter) for length in LENGTHS for adapter in (None, "mine")]
    alone = run_alone(model, requests)
    with running(model) as engine:
        assert run_together(engine, requests) == alone
    assert [error for *_, error in alone] == [None] * len(requests)
    for request, (ids, *_) in zip(requests, alone, strict=True):
        adapters.activate(model, request.adapter)
        assert ids == greedy(model, request.ids, 8)
    assert alone[::2] != alone[1::2]


def test_some_families_are_served():
    assert {"llama", "gpt2", "qwen3", "gemma3_text", "mistral", "mixtral", "deepseek_v3"} <= set(SERVED)
    assert PLAN.mode == "exact"
