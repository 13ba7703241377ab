"""What every family must do; a family file adds itself by its name in FAMILIES."""

import json

import pytest
import torch
import transformers

from mainspring.errors import WeightsError
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import FAMILIES, family
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.save import save

LENGTHS = [5, 17, 1, 17]


def tiny(name, **changes):
    """A tiny model with random weights, norms and biases among them."""
    torch.manual_seed(0)
    model = Model(family(name).tiny().model_copy(update=changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def random_ids(model, num_tokens):
    return torch.randint(
        model.config.vocab_size, (num_tokens,), generator=torch.Generator().manual_seed(num_tokens)
    )


def outputs(model, ids, lengths):
    pos = torch.cat([torch.arange(length) for length in lengths])
    hidden = model(ids, pos, PackedAttend(lengths))
    return model.logits(hidden) if model.config.has_head else hidden


@pytest.mark.parametrize("name", FAMILIES)
def test_a_config_survives_being_published(name):
    kind = family(name)
    assert kind.config(kind.published(kind.tiny())) == kind.tiny()
    assert kind.config(json.loads(json.dumps(kind.published(kind.tiny())))) == kind.tiny()


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_equal_those_of_transformers_own_class(name, tmp_path):
    model = tiny(name)
    save(model, tmp_path)
    kind = transformers.AutoModelForCausalLM if model.config.has_head else transformers.AutoModel
    theirs = kind.from_pretrained(tmp_path).eval()
    ids = random_ids(model, 33)
    with torch.no_grad():
        said = theirs(ids.unsqueeze(0))
        expected = said.logits if model.config.has_head else said.last_hidden_state
        torch.testing.assert_close(outputs(model, ids, [33]), expected[0], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_reach_every_parameter_and_are_finite(name):
    model = tiny(name)
    outputs(model, random_ids(model, sum(LENGTHS)), LENGTHS).square().mean().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", FAMILIES)
def test_a_saved_model_loads_bit_equal(name, tmp_path):
    model = tiny(name)
    save(model, tmp_path)
    loaded = load(tmp_path)
    assert loaded.config == model.config
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    for key, tensor in model.state_dict().items():
        assert torch.equal(state[key], tensor), key


@pytest.mark.parametrize("name", FAMILIES)
def test_packed_segments_give_what_each_gives_alone(name):
    model = tiny(name)
    ids = random_ids(model, sum(LENGTHS))
    with torch.no_grad():
        packed = outputs(model, ids, LENGTHS)
        alone = [outputs(model, part, [len(part)]) for part in ids.split(LENGTHS)]
    torch.testing.assert_close(packed, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_a_head_that_is_not_the_embedding_is_published_too(tmp_path):
    model = tiny("llama", tied=False)
    save(model, tmp_path)
    assert torch.equal(load(tmp_path).state_dict()["head.weight"], model.state_dict()["head.weight"])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = random_ids(model, 9)
    with torch.no_grad():
        torch.testing.assert_close(
            outputs(model, ids, [9]), theirs(ids.unsqueeze(0)).logits[0], atol=2e-5, rtol=1e-5
        )


def test_a_model_that_served_first_still_trains():
    model = tiny("llama")
    ids = random_ids(model, 6)
    with torch.inference_mode():
        outputs(model, ids, [6])
    outputs(model, ids, [6]).sum().backward()


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
def test_scaled_rotary_positions_are_refused(key):
    kind = family("llama")
    said = {**kind.published(kind.tiny()), key: {"rope_type": "yarn", "factor": 4.0}}
    with pytest.raises(WeightsError, match="'yarn'"):
        kind.config(said)


def test_the_rotary_base_is_found_where_newer_files_keep_it():
    kind = family("llama")
    said = {**kind.published(kind.tiny()), "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}
    assert kind.config(said).blocks[0].attention.rope_theta == 5e5


@pytest.mark.parametrize(
    ("key", "value"), [("hidden_act", "swish"), ("position_embedding_type", "relative_key")]
)
def test_a_bert_of_another_kind_is_refused(key, value):
    kind = family("bert")
    with pytest.raises(WeightsError, match=f"{key} '{value}'"):
        kind.config({**kind.published(kind.tiny()), key: value})
