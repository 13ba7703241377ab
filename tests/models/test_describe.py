"""What is counted from a config, beside what the modules really hold, store and multiply."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mainspring.models.attend import PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.describe import describe
from mainspring.models.families.base import FAMILIES, family
from mainspring.models.model import Model

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


@pytest.mark.parametrize("name", CAUSAL)
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
