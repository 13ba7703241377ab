import pytest
import torch

from fakes_adapters import IDS, assert_near, assert_packed_is_alone_and_nothing_leaks, disturb, hidden, tiny
from formula_llama import hidden_states
from mainspring.adapt import base as adapters
from mainspring.adapt.prefix import Prefix
from mainspring.errors import ConfigError, ContextLengthError
from mainspring.models.attend import PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.generate import generate


def prefixed(name="llama", **settings):
    model = tiny(name)
    Prefix(num_virtual=3, **settings).apply(model, seed=0, name="default")
    disturb(model)
    return model


def by_layer(model, table):
    """Layer -> (keys, values); the numbers of a row run layer by layer, keys before values."""
    spec = model.config.blocks[0].mixer
    tensors = table.view(len(table), -1, spec.num_kv_heads, spec.head_size).unbind(1)
    return dict(enumerate(zip(tensors[0::2], tensors[1::2], strict=True)))


def written_net(part):
    """The table of MLP(P'), as section 4.3 has it."""
    net = part.net
    return torch.tanh(net.small_PC @ net.down_EC.T + net.down_bias_E) @ net.up_XE.T + net.up_bias_X


@pytest.mark.parametrize("name", ["llama", "mistral"])
def test_states_and_gradients_are_those_of_the_formula_in_float64(name):
    """Mistral's window of 8 is shorter than the text, and its prefix is seen from everywhere."""
    model = prefixed(name)
    (part,) = adapters.parts(model, "default").values()
    table = part.table_PX.detach().clone().requires_grad_()
    plain = tiny(name)
    expected = hidden_states(plain, IDS, prefix=by_layer(plain, table))
    found = hidden(model)
    assert_near(found, expected, 1e-9)
    assert (expected - hidden_states(plain, IDS)).abs().max() > 0.01
    found.square().mean().backward()
    expected.square().mean().backward()
    assert_near(part.table_PX.grad, table.grad, 1e-9)


def test_the_net_makes_the_table_and_learns_through_it():
    model = prefixed(net_width=5)
    (part,) = adapters.parts(model, "default").values()
    plain = tiny()
    found, expected = hidden(model), hidden_states(plain, IDS, prefix=by_layer(plain, written_net(part)))
    assert_near(found, expected, 1e-9)
    ours = torch.autograd.grad(found.square().mean(), list(part.parameters()))
    theirs = torch.autograd.grad(expected.square().mean(), list(part.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        assert_near(one, other, 1e-9)


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2", "gpt2", "bert", "mpt"])
def test_packed_segments_are_those_alone(name):
    assert_packed_is_alone_and_nothing_leaks(prefixed(name))


def test_rows_behind_the_last_segment_stay_there():
    model = prefixed()
    short = hidden(model, IDS[:16], [5, 11])
    pos = torch.cat([torch.arange(5), torch.arange(11), torch.zeros(4, dtype=torch.int64)])
    assert torch.equal(model(IDS, pos, PackedAttend([5, 11]))[:16], short)


@pytest.mark.parametrize("name", ["llama", "mistral", "gemma2"])
def test_a_cache_begins_with_the_prefix(name):
    model = prefixed(name)
    cache = CachedAttend()
    with torch.no_grad():
        pieces = [model(part, cache.positions(len(part)), cache) for part in IDS.split([9, 1, 1, 9])]
    assert_near(torch.cat(pieces), hidden(model), 1e-10)


def test_generating_with_it_is_repeated_reading():
    model = prefixed()
    ids = IDS[:6].tolist()
    for found in generate(model, IDS[:6].tolist(), 5):
        scores = model.logits(hidden(model, torch.tensor(ids))[-1:])
        assert found == int(scores.argmax())
        ids.append(found)
    assert len(ids) == 11


@pytest.mark.parametrize(
    ("name", "message"),
    [("t5", "encoder"), ("mamba2", "mamba2"), ("deepseek_v3", "latent"), ("jamba", "mamba")],
)
def test_models_it_does_not_fit_are_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        Prefix().apply(tiny(name, torch.float32), seed=0, name="default")


def test_text_and_prefix_must_fit_the_context():
    model = tiny()
    Prefix(num_virtual=model.config.context - 19).apply(model, seed=0, name="default")
    with pytest.raises(ContextLengthError, match="Shorten it by 1"):
        hidden(model)


def test_the_start_follows_the_seed_and_the_spread():
    drawn = []
    for seed in (1, 1, 2):
        model = tiny()
        Prefix(num_virtual=50, spread=0.5, net_width=40).apply(model, seed=seed, name="default")
        drawn.append(adapters.parts(model, "default")["front"].table())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert 0.2 < float(drawn[0].std()) < 0.6
