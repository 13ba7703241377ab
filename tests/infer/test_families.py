"""The engine serves every family whose config says so: alone, together and in pieces, to the last bit."""

import pytest
import torch

from fakes_engine import PLAN, make_request, run_alone, run_together, running
from mainspring.infer.kernels import probe
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import FAMILIES, family
from mainspring.models.model import Model

SERVED = [name for name in FAMILIES if family(name).tiny().is_served]
LENGTHS = [1, 7, 16, 30, 61]


def lively(name):
    """A tiny model whose next ids differ from prompt to prompt."""
    torch.manual_seed(3)
    model = Model(family(name).tiny())
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "norm" not in parameter_name:
                parameter.normal_(std=0.2)
    return model.eval().requires_grad_(False)


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
    plan = probe(model, "test")
    requests = [make_request(length) for length in LENGTHS] + [make_request(n, seed=n) for n in LENGTHS]
    alone = run_alone(model, requests, plan)
    for max_step_tokens in (512, 24):
        with running(model, plan, max_step_tokens=max_step_tokens) as engine:
            assert run_together(engine, requests) == alone


def test_some_families_are_served():
    assert {"llama", "gpt2", "qwen3", "gemma3_text", "mistral"} <= set(SERVED)
    assert PLAN.mode == "exact"
