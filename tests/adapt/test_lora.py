import pytest
import torch

from fakes_llama import tiny_llama
from mainspring.adapt import base as adapters
from mainspring.adapt import lora
from mainspring.errors import ConfigError, NotFoundError
from mainspring.models.attend import PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.families.base import family
from mainspring.models.model import Model

IDS = torch.arange(20) * 7 % 250


@pytest.fixture
def model():
    return tiny_llama()


def logits(model):
    with torch.no_grad():
        return model.logits(model(IDS, torch.arange(20), PackedAttend([20])))


def disturb(model, name, seed=1):
    """Make the adapter say something."""
    torch.manual_seed(seed)
    for pair in lora.pairs(model, name).values():
        torch.nn.init.normal_(pair.b_OR, std=0.1)


def test_a_new_adapter_changes_no_answer_and_is_all_that_trains(model):
    plain = logits(model)
    lora.add(model, lora.Lora(rank=4), "a")
    assert torch.equal(logits(model), plain)
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    assert len(trained) == 2 * 7 * model.config.num_layers
    assert all(".parts." in name for name in trained)


def test_switched_off_the_bits_are_those_of_the_plain_model(model):
    plain = logits(model)
    lora.add(model, lora.Lora(), "a")
    disturb(model, "a")
    changed = logits(model)
    assert not torch.allclose(changed, plain, atol=1e-2)
    adapters.activate(model, None)
    assert adapters.active(model) is None
    assert torch.equal(logits(model), plain)
    adapters.activate(model, "a")
    assert torch.equal(logits(model), changed)


def test_adapters_share_a_model_without_touching_each_other(model):
    lora.add(model, lora.Lora(), "a")
    disturb(model, "a")
    first = logits(model)
    lora.add(model, lora.Lora(rank=2, targets=("q",)), "b.1")
    disturb(model, "b.1")
    assert adapters.active(model) == "b.1"
    assert not torch.allclose(logits(model), first, atol=1e-2)
    adapters.activate(model, "a")
    assert torch.equal(logits(model), first)


def test_removing_the_last_adapter_restores_the_module_tree(model):
    before, plain = str(model), logits(model)
    lora.add(model, lora.Lora(), "a")
    disturb(model, "a")
    adapters.remove(model, "a")
    assert str(model) == before
    assert torch.equal(logits(model), plain)


def test_merged_weights_answer_as_the_adapter_did(model):
    base = adapters.base_fingerprint(model)
    lora.add(model, lora.Lora(), "a")
    disturb(model, "a")
    expected = logits(model)
    lora.merge(model, "a")
    assert not adapters.adapters_of(model).configs
    torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-4)
    assert adapters.base_fingerprint(model) != base


def test_merging_below_another_adapter_is_refused(model):
    lora.add(model, lora.Lora(), "a")
    lora.add(model, lora.Lora(), "b")
    with pytest.raises(ConfigError, match="would change the base below b"):
        lora.merge(model, "a")


def test_the_seed_decides_the_start(model):
    lora.add(model, lora.Lora(), "a", seed=3)
    lora.add(model, lora.Lora(), "b", seed=3)
    lora.add(model, lora.Lora(), "c", seed=4)
    a, b, c = (lora.pairs(model, name)["blocks.1.ffn.up"].a_RI for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert a.abs().max() <= model.config.width**-0.5


def test_the_fingerprint_is_the_bases_alone(model):
    plain = adapters.base_fingerprint(model)
    wrapped = tiny_llama()
    lora.add(wrapped, lora.Lora(), "a")
    assert adapters.base_fingerprint(wrapped) == plain
    assert adapters.base_fingerprint(tiny_llama(seed=1)) != plain


@pytest.fixture
def experts():
    """Experts, a balanced router and latent attention."""
    torch.manual_seed(0)
    return Model(family("deepseek_v3").tiny()).eval()


def test_the_balance_of_a_router_is_part_of_the_base(experts):
    plain = adapters.base_fingerprint(experts)
    experts.blocks[1].ffn.balance[3] += 0.5
    adapters.adapters_of(experts).fingerprint = None
    assert adapters.base_fingerprint(experts) != plain


def test_every_expert_gets_factors_of_its_own_and_all_of_them_train(experts):
    lora.add(experts, lora.Lora(rank=2, targets=("gate", "up", "down", "kv_up")), "a")
    disturb(experts, "a")
    pairs = lora.pairs(experts, "a")
    assert "blocks.2.ffn.experts.7.up" in pairs
    assert len(pairs) == 3 + 3 + 2 * 3 * (8 + 1)
    experts.logits(experts(IDS, torch.arange(20), PackedAttend([20]))).square().mean().backward()
    assert all(pair.a_RI.grad.any() for path, pair in pairs.items() if "experts" not in path)
    assert sum(bool(pair.a_RI.grad.any()) for path, pair in pairs.items() if "experts" in path) > 30


def test_an_adapter_of_what_makes_keys_and_values_of_latents_is_felt_with_a_cache_too(experts):
    plain = logits(experts)
    lora.add(experts, lora.Lora(rank=4, targets=("kv_up",)), "a")
    disturb(experts, "a")
    cache = CachedAttend()
    with torch.no_grad():
        pieces = [experts(part, cache.positions(len(part)), cache) for part in IDS.split([9, 1, 10])]
        cached = experts.logits(torch.cat(pieces))
    torch.testing.assert_close(cached, logits(experts), atol=1e-5, rtol=1e-4)
    assert (cached - plain).abs().max() > 0.01


def test_an_unknown_adapter_is_refused_with_those_there_are(model):
    lora.add(model, lora.Lora(), "a")
    with pytest.raises(NotFoundError, match="no adapter 'b'; it has: a"):
        adapters.activate(model, "b")


def test_a_name_is_taken_once(model):
    lora.add(model, lora.Lora(), "a")
    with pytest.raises(ConfigError, match="already has an adapter 'a'"):
        lora.add(model, lora.Lora(), "a")


def test_a_target_that_no_linear_has_is_refused(model):
    with pytest.raises(ConfigError, match=r"names 'q_proj', but .* it has down, gate, k, o, q, up, v"):
        lora.add(model, lora.Lora(targets=("q_proj",)), "a")


def test_rank_zero_is_refused():
    from mainspring.config import build

    with pytest.raises(ConfigError, match="`rank` is 0"):
        build(lora.Lora, {"rank": 0})
