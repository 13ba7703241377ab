import pytest
import torch

from fakes_adapters import IDS, assert_near, assert_packed_is_alone_and_nothing_leaks, disturb, hidden, tiny
from formula_llama import hidden_states
from mainspring.adapt import base as adapters
from mainspring.adapt.prompt import Prompt
from mainspring.errors import ConfigError, ContextLengthError
from mainspring.models.attend import PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.generate import generate

SINGLE = ("mamba2", "deepseek_v3")  # parts of these compute in fp32 whatever the weights are


def prompted(name="llama"):
    model = tiny(name, torch.float32 if name in SINGLE else torch.float64)
    Prompt(num_virtual=3).apply(model, seed=0, name="default")
    disturb(model)
    return model


@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_states_and_gradients_are_those_of_the_formula_in_float64(name):
    model = prompted(name)
    (part,) = adapters.parts(model, "default").values()
    rows = part.vector_PD.detach().clone().requires_grad_()
    expected = hidden_states(tiny(name), IDS, prompt=rows)
    found = hidden(model)
    assert_near(found, expected, 1e-9)
    assert (expected - hidden_states(tiny(name), IDS)).abs().max() > 0.01
    found.square().mean().backward()
    expected.square().mean().backward()
    assert_near(part.vector_PD.grad, rows.grad, 1e-9)


@pytest.mark.parametrize(
    "name", ["llama", "mistral", "gemma2", "gpt2", "bert", "mamba2", "deepseek_v3", "lstm"]
)
def test_packed_segments_are_those_alone(name):
    assert_packed_is_alone_and_nothing_leaks(prompted(name), 1e-6 if name in SINGLE else 1e-12)


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_vectors_of_ids_are_the_tokens_themselves(name):
    model = tiny(name)
    ids = torch.cat([torch.tensor([17, 5, 17]), IDS])
    expected = hidden(model, ids)[3:]
    Prompt(num_virtual=3, init_ids=(17, 5)).apply(model, seed=0, name="default")
    assert_near(hidden(model), expected, 1e-12)


def test_rows_behind_the_last_segment_stay_there():
    model = prompted()
    short = hidden(model, IDS[:16], [5, 11])
    pos = torch.cat([torch.arange(5), torch.arange(11), torch.zeros(4, dtype=torch.int64)])
    found = model(IDS, pos, PackedAttend([5, 0, 11]))
    assert len(found) == 20
    assert_near(found[:16], short, 1e-12)


@pytest.mark.parametrize("name", ["llama", "mistral", "mamba2", "deepseek_v3"])
def test_a_cache_gets_the_vectors_once(name):
    model = prompted(name)
    cache = CachedAttend(num_segments=2)
    pieces = []
    with torch.no_grad():
        for part in IDS.split([9, 1, 1, 9]):
            both = torch.cat([part, part.flip(0)])
            pieces.append(model(both, cache.positions(len(part)), cache)[: len(part)])
    assert_near(torch.cat(pieces), hidden(model), 1e-6 if name in SINGLE else 1e-10)


def test_generating_with_it_is_repeated_reading():
    model = prompted()
    ids = IDS[:6].tolist()
    for found in generate(model, IDS[:6].tolist(), 5):
        scores = model.logits(hidden(model, torch.tensor(ids))[-1:])
        assert found == int(scores.argmax())
        ids.append(found)
    assert len(ids) == 11


def test_random_vectors_follow_the_seed_and_the_embedding():
    drawn = []
    for seed in (1, 1, 2):
        model = tiny()
        Prompt(num_virtual=50).apply(model, seed=seed, name="default")
        drawn.append(adapters.parts(model, "default")["front"].vector_PD)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert abs(float(drawn[0].std() / model.embedding.weight.std()) - 1) < 0.1


def test_what_it_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="an encoder and a decoder"):
        Prompt().apply(tiny("t5", torch.float32), seed=0, name="default")
    with pytest.raises(ConfigError, match="from 0 to"):
        Prompt(init_ids=(100_000,)).apply(tiny(), seed=0, name="default")
    model = tiny()
    Prompt(num_virtual=model.config.context - 19).apply(model, seed=0, name="default")
    with pytest.raises(ContextLengthError, match="Shorten it by 1"):
        hidden(model)
