import pytest
import torch

from fakes_adapters import IDS, assert_near, assert_packed_is_alone_and_nothing_leaks, disturb, hidden, tiny
from formula_llama import hidden_states
from mainspring.adapt import base
from mainspring.adapt.bottleneck import BottleneckConfig
from mainspring.errors import ConfigError

BEHIND = [("mixer", "ffn"), ("ffn",)]


@pytest.mark.parametrize("behind", BEHIND)
def test_untrained_it_changes_no_bit(behind):
    model = tiny()
    plain = hidden(model)
    BottleneckConfig(behind=behind).apply(model, seed=0)
    assert torch.equal(hidden(model), plain)


@pytest.mark.parametrize("behind", BEHIND)
def test_states_and_gradients_are_those_of_the_formula_in_float64(behind):
    model = tiny()
    BottleneckConfig(behind=behind, reduction=4).apply(model, seed=0)
    disturb(model)
    parts = base.parts_of(model, "default")
    assert len(parts) == len(behind) * model.config.num_layers
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
    BottleneckConfig().apply(model, seed=0)
    disturb(model)
    assert_packed_is_alone_and_nothing_leaks(model)


@pytest.mark.parametrize("name", ["t5", "deepseek_v3", "mamba2", "gemma2", "bert"])
def test_every_kind_of_layer_takes_one_and_gives_it_back(name):
    model = tiny(name, torch.float32)
    before = str(model)
    BottleneckConfig(width=3, activation="tanh").apply(model, seed=0)
    paths = set(base.parts_of(model, "default"))
    assert "blocks.0.mixer" in paths
    assert ("blocks.0.ffn" in paths) == (model.config.blocks[0].ffn is not None)
    assert ("encoder.blocks.0.ffn" in paths) == (model.config.encoder is not None)
    if model.config.encoder is None:
        hidden(model).sin().mean().backward()
        assert all(part.up_DW.grad.any() for part in base.parts_of(model, "default").values())
    base.remove(model, "default")
    assert str(model) == before


def test_width_follows_from_one_setting():
    assert BottleneckConfig().width_in(64) == 4
    assert BottleneckConfig(reduction=100).width_in(64) == 1
    assert BottleneckConfig(width=7).width_in(64) == 7
    with pytest.raises(ValueError, match="give one of them"):
        BottleneckConfig(width=7, reduction=2)


def test_a_model_without_such_parts_is_refused():
    with pytest.raises(ConfigError, match=r"no layer of this mamba2 model has such a part"):
        BottleneckConfig(behind=("ffn",)).apply(tiny("mamba2", torch.float32), seed=0)


def test_it_does_not_merge():
    model = tiny()
    BottleneckConfig().apply(model, seed=0)
    with pytest.raises(ConfigError, match="bottleneck.*weights"):
        base.merge(model, "default")
