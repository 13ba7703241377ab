import pytest
import torch

from fakes_adapters import IDS, assert_near, assert_packed_is_alone_and_nothing_leaks, disturb, hidden, tiny
from formula_llama import hidden_states
from mainspring.adapt import base as adapters
from mainspring.adapt import ia3
from mainspring.adapt.ia3 import Ia3
from mainspring.errors import ConfigError


@pytest.fixture
def model():
    model = tiny()
    Ia3().apply(model, seed=0, name="default")
    return model


def test_vectors_of_ones_change_no_bit():
    model = tiny()
    plain = hidden(model)
    Ia3().apply(model, seed=0, name="default")
    assert torch.equal(hidden(model), plain)


def test_states_and_gradients_are_those_of_the_formula_in_float64(model):
    disturb(model)
    scales = {
        path: part.scale_X.detach().clone().requires_grad_()
        for path, part in adapters.parts(model, "default").items()
    }
    assert len(scales) == 3 * model.config.num_layers
    expected = hidden_states(tiny(), IDS, scales=scales)
    found = hidden(model)
    assert_near(found, expected, 1e-9)
    assert (expected - hidden_states(tiny(), IDS)).abs().max() > 0.01
    found.square().mean().backward()
    expected.square().mean().backward()
    for path, part in adapters.parts(model, "default").items():
        assert_near(part.scale_X.grad, scales[path].grad, 1e-9)


def test_packed_segments_are_those_alone(model):
    disturb(model)
    assert_packed_is_alone_and_nothing_leaks(model)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_merged_weights_and_biases_answer_as_the_vectors_did(name):
    model = tiny(name)
    before = str(model)
    Ia3().apply(model, seed=0, name="default")
    disturb(model)
    expected = hidden(model)
    ia3.merge(model, "default")
    assert str(model) == before
    assert_near(hidden(model), expected, 1e-12)


def test_a_linear_scaled_on_both_sides_is_refused():
    with pytest.raises(ValueError, match="names k in `outputs` and `inputs`"):
        Ia3(outputs=("k", "v"), inputs=("k",))


def test_a_linear_that_the_model_lacks_is_refused():
    with pytest.raises(ConfigError, match="'wo'"):
        Ia3(inputs=("wo",)).apply(tiny(), seed=0, name="default")
