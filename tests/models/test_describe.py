"""What is counted from a config, beside what the modules really hold, store and multiply."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mainspring.models.attend import PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.describe import describe
from mainspring.models.families.base import FAMILIES, family
from mainspring.models.model import Model

STATES = {
    "mamba2": {"state_size": 400},
    "jamba": {"mamba_d_state": 400},
    "qwen3_next": {"linear_key_head_dim": 100, "linear_value_head_dim": 100},
}
CAUSAL = [name for name in FAMILIES if family(name).tiny().is_causal and not family(name).tiny().encoder]


@pytest.mark.parametrize("name", FAMILIES)
def test_parts_add_up_to_all_parameters(name):
    said = describe(family(name).tiny())
    model = Model(family(name).tiny())
    assert said.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert sum(said.parts.values()) == said.parameters
    assert said.active_parameters <= said.parameters
    assert said.memory_bytes["fp32"] == 4 * said.parameters


@pytest.mark.parametrize("name", CAUSAL)
def test_a_token_leaves_as_many_numbers_in_the_cache_as_are_told(name):
    model = Model(family(name).tiny()).eval()
    cache = CachedAttend()
    with torch.no_grad():
        model(torch.arange(3, 12), cache.positions(9), cache)
    assert describe(model.config).cache_bytes["fp32"] == 4 * cache.num_numbers / 9


@pytest.mark.parametrize("name", STATES)
def test_a_segment_keeps_a_state_of_as_many_numbers_as_are_told(name):
    model, cache = Model(family(name).tiny()).eval(), CachedAttend()
    with torch.no_grad():
        model(torch.arange(3, 12), cache.positions(9), cache)
    kept = sum(part.numel() for state in cache._states.values() for part in state)
    assert describe(model.config).state_bytes == 4 * kept


class Arithmetic(TorchDispatchMode):
    """Counts additions and multiplications of numbers, which the counter of products leaves out."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        each = {"mul": 1, "add": 1, "sub": 1, "addcmul": 2}.get(func.__name__.split(".")[0].rstrip("_"), 0)
        self.count += each * out.numel() if each else 0
        return out


def counted_work(config):
    """Of one token behind others, products and what is done number by number."""
    model, cache = Model(config).eval(), CachedAttend()
    products, arithmetic = FlopCounterMode(display=False), Arithmetic()
    with torch.no_grad():
        model(torch.arange(3, 10), cache.positions(7), cache)
        with arithmetic, products:
            model.logits(model(torch.tensor([5]), cache.positions(1), cache))
    return products.get_total_flops() + arithmetic.count


@pytest.mark.parametrize("name", STATES)
def test_the_work_grows_with_the_state_as_counted(name):
    kind = family(name)
    small = kind.tiny()
    large = kind.config({**kind.published(small), **STATES[name]})
    told = [describe(config, at_tokens=8).work_flops for config in (small, large)]
    counted = [counted_work(config) for config in (small, large)]
    assert told[1] - told[0] == pytest.approx(counted[1] - counted[0], rel=0.03)


@pytest.mark.parametrize("name", sorted(set(CAUSAL) - set(STATES) - {"lstm"}))
def test_the_work_of_a_token_is_what_torch_counts(name):
    model = Model(family(name).tiny()).eval()
    cache, counter = CachedAttend(), FlopCounterMode(display=False)
    with torch.no_grad():
        model(torch.arange(3, 10), cache.positions(7), cache)
        with sdpa_kernel(SDPBackend.MATH), counter:  # fused kernels are not counted
            model.logits(model(torch.tensor([5]), cache.positions(1), cache))
    assert describe(model.config, at_tokens=8).work_flops == pytest.approx(
        counter.get_total_flops(), rel=0.02
    )


def test_the_work_of_an_lstm_is_its_matrices_and_its_gates():
    width, layers, vocab = 48, 2, 288
    by_hand = layers * (2 * 2 * 4 * width * width + 4 * width) + 2 * width * vocab
    assert describe(family("lstm").tiny()).work_flops == by_hand


def test_a_window_bounds_the_work_of_attention():
    config = family("mistral").tiny()
    near, far = (describe(config, at_tokens=at).work_flops for at in (8, 200))
    assert near == far
    assert (
        describe(family("llama").tiny(), at_tokens=8).work_flops < describe(family("llama").tiny()).work_flops
    )


def test_a_model_that_looks_both_ways_has_no_cache():
    assert describe(family("bert").tiny()).cache_bytes == {"fp32": 0, "bf16": 0}
    with torch.no_grad():
        model = Model(family("bert").tiny())
        assert model(torch.arange(5), torch.arange(5), PackedAttend([5])).shape == (5, 64)
