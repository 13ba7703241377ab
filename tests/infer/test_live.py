"""The engine over a model that somebody trains: what it samples from are the weights of this moment."""

import pytest
import torch

from fakes_adapters import disturb
from fakes_engine import Received, make_model, make_request, run_together
from mainspring.adapt import base as adapters
from mainspring.adapt import lora
from mainspring.adapt.bottleneck import Bottleneck
from mainspring.adapt.ia3 import Ia3
from mainspring.adapt.prefix import Prefix
from mainspring.adapt.prompt import Prompt
from mainspring.errors import ConfigError
from mainspring.infer.backends.live import Live
from mainspring.infer.engine import Engine
from mainspring.infer.request import EngineConfig, Request
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import FAMILIES, family
from mainspring.models.model import Model

CONFIG = EngineConfig(num_blocks=256, max_running=64, max_step_tokens=1024)
SERVED = [name for name in FAMILIES if family(name).tiny().is_served]
LENGTHS = [1, 5, 5, 17, 40, 40, 40, 61]
TOLERANCE = 1e-5


def lively(name, seed=3):
    """A tiny model that trains, with scores far enough apart to be told from each other."""
    torch.manual_seed(seed)
    model = Model(family(name).tiny())
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "norm" not in parameter_name:
                parameter.normal_(std=0.2)
    return model.train()


def trainers_logprobs(model, ids, num_prompt):
    hidden = model(torch.tensor(ids), torch.arange(len(ids)), PackedAttend([len(ids)]))
    logp = torch.log_softmax(model.logits(hidden[num_prompt - 1 : -1]), -1)
    return logp.gather(1, torch.tensor(ids[num_prompt:]).unsqueeze(1)).squeeze(1).detach()


def answers(model, requests):
    with Engine(Live(model, CONFIG), CONFIG) as engine:
        return run_together(engine, requests)


def largest_difference(model, requests, results):
    differences = []
    for request, (ids, logprobs, *_) in zip(requests, results, strict=True):
        expected = trainers_logprobs(model, [*request.ids, *ids], len(request.ids))
        differences.append(expected - torch.tensor(logprobs, dtype=torch.float64))
    return float(torch.cat(differences).abs().max())


@pytest.mark.parametrize(
    "name", [n if n in ("llama", "gpt2") else pytest.param(n, marks=pytest.mark.slow) for n in SERVED]
)
def test_log_probabilities_are_the_trainers_before_and_after_a_step(name):
    model = lively(name)
    requests = [make_request(length, seed=seed) for seed, length in enumerate(LENGTHS)]
    before = answers(model, requests)
    assert largest_difference(model, requests, before) <= TOLERANCE
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    after = answers(model, requests)
    assert largest_difference(model, requests, after) <= TOLERANCE
    assert model.training
    assert [ids for ids, *_ in before] != [ids for ids, *_ in after]


def test_the_adapter_that_is_active_answers_and_stays_active():
    model = lively("qwen3")
    requests = [make_request(length, seed=length) for length in LENGTHS]
    plain = answers(model, requests)
    lora.add(model, lora.Lora(rank=4), "mine")
    with torch.no_grad():
        for pair in lora.pairs(model, "mine").values():
            pair.b_OR.normal_(std=0.3)
    found = answers(model, requests)
    assert adapters.active(model) == "mine"
    assert largest_difference(model, requests, found) <= TOLERANCE
    assert [ids for ids, *_ in plain] != [ids for ids, *_ in found]
    adapters.activate(model, None)
    assert answers(model, requests) == plain


def test_a_model_in_double_precision_is_sampled_in_it():
    model = lively("llama").double()
    requests = [make_request(length, seed=length) for length in LENGTHS]
    assert largest_difference(model, requests, answers(model, requests)) <= 1e-12


def test_the_end_token_comes_with_its_log_probability_and_outside_of_the_answer():
    model = make_model()
    request = make_request(9, seed=5, max_tokens=3)
    with Engine(Live(model, CONFIG), CONFIG) as engine:
        ids, logprobs, *_ = run_together(engine, [request])[0]
        ending = Request(ids=request.ids, sampling=request.sampling, end_ids=(ids[1],))
        received = Received()
        engine.submit(ending, received)
        assert received.result[:3] == (ids[:1], logprobs[:1], "stop")
        end = received.outputs[-1].end
        assert (end.id, end.logprob) == (ids[1], logprobs[1])


@pytest.mark.parametrize("config", [Ia3(), Bottleneck()])
def test_an_adapter_that_only_changes_modules_answers_as_it_trains(config):
    model = lively("llama")
    config.apply(model, seed=0, name="a")
    disturb(model, "a")
    requests = [make_request(length, seed=length) for length in (5, 17)]
    assert largest_difference(model, requests, answers(model, requests)) <= TOLERANCE


@pytest.mark.parametrize("config", [Prefix(), Prompt()])
def test_virtual_tokens_are_refused(config):
    model = lively("llama")
    config.apply(model, seed=0, name="a")
    with pytest.raises(ConfigError, match=f"of kind '{config.kind}', and the engine has no place"):
        Live(model, CONFIG)
