"""What every family must do; a family file adds itself by its name in FAMILIES."""

import json

import pytest
import torch

from mainspring.models.attend import PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.families.base import FAMILIES, family, names_of
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.save import save
from oracle_transformers import class_of, more_inputs, published_gradients

LENGTHS = [5, 17, 1, 17]
SOURCE_LENGTHS = [9, 4, 6, 4]


def tiny(name, **changes):
    """A tiny model with random weights, norms, biases and balances among them."""
    torch.manual_seed(0)
    model = Model(family(name).tiny().model_copy(update=changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for buffer in model.buffers():
            buffer.add_(0.1 * torch.randn_like(buffer))
    return model.eval()


def random_ids(model, num_tokens):
    generator = torch.Generator().manual_seed(num_tokens)
    return torch.randint(3, model.config.vocab_size, (num_tokens,), generator=generator)


def positions(lengths):
    return torch.cat([torch.arange(length) for length in lengths])


def outputs(model, ids, lengths, source=None, source_lengths=None):
    """The head's scores, or hidden states without a head, of packed segments."""
    source_SD = None
    if source is not None:
        source_SD = model.encode(source, positions(source_lengths), PackedAttend(source_lengths))
    hidden = model(ids, positions(lengths), PackedAttend(lengths, source_lengths), source_SD)
    return model.logits(hidden) if model.config.head else hidden


def with_source(model, lengths, source_lengths):
    """Random ids, and a random source where the family has an encoder beside its decoder."""
    ids = random_ids(model, sum(lengths))
    if model.config.encoder is None:
        return ids, None, None
    return ids, random_ids(model, sum(source_lengths)), source_lengths


def theirs_of(model, folder):
    save(model, folder)
    return class_of(folder).from_pretrained(folder, attn_implementation="eager").eval()


def their_outputs(theirs, ids, source):
    if source is None:
        said = theirs(ids[None], **more_inputs(theirs, ids))
    else:
        said = theirs(input_ids=source[None], decoder_input_ids=ids[None])
    return said.logits[0] if "logits" in said else said.last_hidden_state[0]


def assert_close(found, expected, relative=1e-5):
    assert (found - expected).abs().max() <= relative * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_config_survives_being_published(name):
    kind = family(name)
    assert kind.config(kind.published(kind.tiny())) == kind.tiny()
    assert kind.config(json.loads(json.dumps(kind.published(kind.tiny())))) == kind.tiny()


@pytest.mark.parametrize("name", FAMILIES)
def test_outputs_and_gradients_equal_those_of_transformers_own_class(name, tmp_path):
    model = tiny(name)
    theirs = theirs_of(model, tmp_path)
    ids, source, source_lengths = with_source(model, [33], [21])
    expected = their_outputs(theirs, ids, source)
    found = outputs(model, ids, [33], source, source_lengths)
    assert_close(found, expected)
    pull = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    (expected * pull).mean().backward()
    (found * pull).mean().backward()
    compare_gradients(model, theirs)


def compare_gradients(model, theirs):
    """Every gradient of ours beside the published one's, 1e-4 relative; none is left out.

    Some gradients are zero but for rounding (a bias of keys changes no softmax), so a thousandth of the
    whole gradient counts as well.
    """
    ours = dict(model.named_parameters())
    published = published_gradients(theirs)
    untrained = dict(theirs.named_buffers())
    total = torch.stack([grad.norm() for grad in published.values() if grad is not None]).norm()
    for entry in names_of(model.config).entries(model.config):
        if entry.published in untrained:
            continue
        expected = published[entry.published]
        grads = [ours[name].grad for name in entry.ours]
        assert all(grad is not None for grad in grads), entry
        found = torch.cat(grads) if len(grads) > 1 else grads[0]
        found = found.t() if entry.is_transposed else found
        assert (found - expected).norm() <= 1e-4 * max(expected.norm(), 1e-3 * total), entry


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_reach_every_parameter_and_are_finite(name):
    model = tiny(name)
    outputs(model, *_all(model)).square().mean().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


def _all(model):
    ids, source, source_lengths = with_source(model, LENGTHS, SOURCE_LENGTHS)
    return ids, LENGTHS, source, source_lengths


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
def test_files_that_transformers_wrote_are_written_back_bit_equal(name, tmp_path):
    from safetensors.torch import load_file

    theirs_of(tiny(name), tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    save(load(tmp_path / "theirs"), tmp_path / "back")
    theirs = load_file(tmp_path / "theirs" / "model.safetensors")
    back = load_file(tmp_path / "back" / "model.safetensors")
    names = names_of(family(name).tiny())
    assert set(back) <= set(theirs)
    assert all(names.is_unused(left) for left in set(theirs) - set(back))
    for key, tensor in back.items():
        assert torch.equal(tensor, theirs[key]), key


@pytest.mark.parametrize("name", FAMILIES)
def test_packed_segments_give_what_each_gives_alone(name):
    model = tiny(name)
    ids, lengths, source, source_lengths = _all(model)
    with torch.no_grad():
        packed = outputs(model, ids, lengths, source, source_lengths)
        sources = source.split(source_lengths) if source is not None else [None] * len(lengths)
        alone = [
            outputs(model, part, [len(part)], its, None if its is None else [len(its)])
            for part, its in zip(ids.split(lengths), sources, strict=True)
        ]
    assert_close(packed, torch.cat(alone))


@pytest.mark.parametrize("name", [name for name in FAMILIES if family(name).tiny().is_causal])
@pytest.mark.parametrize("steps", [[33], [1] * 12, [20, 1, 1, 7, 1]])
def test_cached_decoding_equals_the_full_pass(name, steps):
    model = tiny(name)
    num_tokens = sum(steps)
    ids, source, source_lengths = with_source(model, [num_tokens], [21])
    with torch.no_grad():
        full = outputs(model, ids, [num_tokens], source, source_lengths)
        source_SD = None if source is None else model.encode(source, torch.arange(21), PackedAttend([21]))
        cache = CachedAttend()
        pieces = [model(part, cache.positions(len(part)), cache, source_SD) for part in ids.split(steps)]
        hidden = torch.cat(pieces)
    assert_close(model.logits(hidden) if model.config.head else hidden, full)


def test_a_head_that_is_not_the_embedding_is_published_too(tmp_path):
    head = family("llama").tiny().head.model_copy(update={"tied": False})
    model = tiny("llama", head=head)
    theirs = theirs_of(model, tmp_path)
    assert torch.equal(load(tmp_path).state_dict()["head.out.weight"], model.state_dict()["head.out.weight"])
    ids = random_ids(model, 9)
    with torch.no_grad():
        assert_close(outputs(model, ids, [9]), theirs(ids[None]).logits[0])


def test_a_model_that_served_first_still_trains():
    model = tiny("llama")
    ids = random_ids(model, 6)
    with torch.inference_mode():
        outputs(model, ids, [6])
    outputs(model, ids, [6]).sum().backward()
