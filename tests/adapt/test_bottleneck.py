import pytest
import torch

from fakes_adapters import IDS, assert_near, assert_packed_is_alone_and_nothing_leaks, disturb, hidden, tiny
from formula_llama import hidden_states
from mainspring.adapt import base as adapters
from mainspring.adapt import ia3
from mainspring.adapt.bottleneck import Bottleneck
from mainspring.errors import ConfigError

WHERE = ["both", "ffn"]


@pytest.mark.parametrize("where", WHERE)
def test_untrained_it_changes_no_bit(where):
    model = tiny()
    plain = hidden(model)
    Bottleneck(where=where).apply(model, seed=0, name="default")
    assert torch.equal(hidden(model), plain)


@pytest.mark.parametrize("where", WHERE)
def test_states_and_gradients_are_those_of_the_formula_in_float64(where):
    model = tiny()
    Bottleneck(where=where, reduction=4).apply(model, seed=0, name="default")
    disturb(model)
    parts = adapters.parts(model, "default")
    assert len(parts) == (2 if where == "both" else 1) * model.config.num_layers
    nets = {
        path: [each.detach().clone().requires_grad_() for each in part.parameters()]
        for path, part in parts.items()
    }
    expected = hidden_states(tiny(), IDS, nets=nets)
    found = hidden(model)
    assert_near(found, expected, 1e-9)
    found.square().mean().backward()
    expected.square().mean().backward()
    for path, part in parts.items():
        for ours, theirs in zip(part.parameters(), nets[path], strict=True):
            assert_near(ours.grad, theirs.grad, 1e-9)


def test_packed_segments_are_those_alone():
    model = tiny()
    Bottleneck().apply(model, seed=0, name="default")
    disturb(model)
    assert_packed_is_alone_and_nothing_leaks(model)


@pytest.mark.parametrize("name", ["t5", "deepseek_v3", "mamba2", "gemma2", "bert"])
def test_every_kind_of_layer_takes_one_and_gives_it_back(name):
    model = tiny(name, torch.float32)
    before = str(model)
    Bottleneck(width=3, activation="tanh").apply(model, seed=0, name="default")
    paths = set(adapters.parts(model, "default"))
    assert "blocks.0.mixer" in paths
    assert ("blocks.0.ffn" in paths) == (model.config.blocks[0].ffn is not None)
    assert ("encoder.blocks.0.ffn" in paths) == (model.config.encoder is not None)
    if model.config.encoder is None:
        hidden(model).sin().mean().backward()
        assert all(part.up_DW.grad.any() for part in adapters.parts(model, "default").values())
    adapters.remove(model, "default")
    assert str(model) == before


def test_width_follows_from_one_setting():
    assert Bottleneck().width_in(64) == 4
    assert Bottleneck(reduction=100).width_in(64) == 1
    assert Bottleneck(width=7).width_in(64) == 7
    with pytest.raises(ValueError, match="give one of them"):
        Bottleneck(width=7, reduction=2)


def test_a_model_without_such_parts_is_refused():
    with pytest.raises(ConfigError, match=r"no layer of this mamba2 model has a feed-forward part"):
        Bottleneck(where="ffn").apply(tiny("mamba2", torch.float32), seed=0, name="default")


def test_it_does_not_merge():
    model = tiny()
    Bottleneck().apply(model, seed=0, name="default")
    with pytest.raises(ConfigError, match="kind 'bottleneck', which is no scale of weights"):
        ia3.merge(model, "default")
