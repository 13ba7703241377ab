"""Weights in 4 bits against an independent reading of the paper in float64, and what they take in memory."""

import math

import pytest
import torch
from torch import nn

from fakes_llama import tiny_llama
from mainspring.adapt import base as adapters
from mainspring.adapt import lora
from mainspring.adapt.lora import Lora, QLora
from mainspring.adapt.quantized import NF4, QuantLinear
from mainspring.errors import ConfigError
from mainspring.models.attend import PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.families.base import family
from mainspring.models.model import Model

IDS = torch.arange(20) * 7 % 250


def linear(rows=24, columns=64, bias=True):
    torch.manual_seed(0)
    return nn.Linear(columns, rows, bias=bias).requires_grad_(False)


def logits(model):
    return model.logits(model(IDS, torch.arange(20), PackedAttend([20])))


def quantile(probability):
    """Of the standard normal distribution, by bisection: independent of the library's."""
    low, high = -10.0, 10.0
    for _ in range(200):
        middle = (low + high) / 2
        if 0.5 * math.erfc(-middle / math.sqrt(2)) < probability:
            low = middle
        else:
            high = middle
    return low


def test_the_values_are_equally_likely_under_a_normal_distribution():
    """Quantiles of both halves, divided by the largest: arXiv:2305.14314, section 3 and appendix E.

    The published values were made with the outermost probability at seven digits.
    """
    offset = 0.9677083
    assert offset == pytest.approx((1 - 1 / (2 * 15) + 1 - 1 / (2 * 16)) / 2, abs=1e-7)
    above = [quantile(offset + at * (0.5 - offset) / 8) for at in range(8)]
    below = [-quantile(offset + at * (0.5 - offset) / 7) for at in range(7)]
    values = sorted([*above, 0.0, *below])
    assert [each / max(values) for each in values] == pytest.approx(list(NF4), abs=2e-7)


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize(("kind", "block"), [("nf4", 64), ("int4", 32), ("int4", 64)])
@pytest.mark.parametrize("shape", [(24, 64), (7, 33), (1100, 32)])
def test_weights_are_the_nearest_values_of_each_block(kind, block, double, shape):
    """(7, 33) does not divide into blocks; (1100, 32) has more than one group of 256 scales.

    Where a scale lies halfway between two steps, float32 may take the other one: those blocks are left out.
    """
    plain = linear(*shape)
    weights = plain.weight.double().flatten()
    blocks = [weights[at : at + block] for at in range(0, len(weights), block)]
    scales = [float(each.abs().max()) / (1 if kind == "nf4" else 7) for each in blocks]
    kept, halfway = scales, set()
    if double:
        mean = sum(scales) / len(scales)
        kept = []
        for at in range(0, len(scales), 256):
            apart = [each - mean for each in scales[at : at + 256]]
            step = max(abs(each) for each in apart) / 127
            kept += [mean + round(each / step) * step for each in apart]
            halfway |= {at + place for place, each in enumerate(apart) if abs(each / step % 1 - 0.5) < 1e-3}
    assert len(halfway) <= 0.01 * len(scales)
    table = torch.tensor(NF4 if kind == "nf4" else range(-8, 8), dtype=torch.float64)
    found = QuantLinear(plain, kind, block, double=double).weight.double().flatten().split(block)
    for at, each in enumerate(blocks):
        if at not in halfway:
            nearest = (each[:, None] / scales[at] - table).abs().argmin(1)
            torch.testing.assert_close(found[at], table[nearest] * kept[at], rtol=2e-6, atol=2e-7)


def test_a_block_of_zeros_stays_zero_and_no_scale_turns_signs():
    plain = linear(300, 64)
    plain.weight[5] = 0
    plain.weight[7] *= 1e-4
    quantized = QuantLinear(plain, "nf4", 64, double=True)
    assert not quantized.weight[5].any()
    assert (quantized.weight * plain.weight >= 0).all()


@pytest.mark.parametrize("bias", [True, False])
def test_a_product_and_its_gradient_are_those_of_the_weights_it_stands_for(bias):
    quantized = QuantLinear(linear(bias=bias), "nf4", 64, double=True)
    x = torch.randn(5, 64, requires_grad=True)
    quantized(x).square().sum().backward()
    other = x.detach().clone().requires_grad_()
    nn.functional.linear(other, quantized.weight, quantized.bias).square().sum().backward()
    torch.testing.assert_close(x.grad, other.grad)


@pytest.mark.parametrize(("double", "bits"), [(True, 4.13), (False, 4.51)])
def test_a_weight_takes_as_many_bits_as_the_paper_says(double, bits):
    """4 + 32 / 64, or 4 + 8 / 64 + 32 / (64 * 256): arXiv:2305.14314, section 3."""
    quantized = QuantLinear(linear(256, 1024), "nf4", 64, double=double)
    size = sum(each.numel() * each.element_size() for each in quantized.buffers())
    assert 8 * size / (256 * 1024) < bits


def _kept_for_backward(model):
    """Bytes that a forward keeps for its backward."""
    seen = {}

    def keep(tensor):
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = logits(model).square().mean()
    own = {each.untyped_storage().data_ptr() for each in [*model.parameters(), *model.buffers()]}
    kept = sum(size for at, size in seen.items() if at not in own)
    loss.backward()
    return kept


def test_no_weight_that_was_made_for_a_product_is_kept_for_its_gradient():
    plain, quantized = tiny_llama(), tiny_llama()
    Lora(rank=4).apply(plain, seed=0)
    QLora(rank=4).apply(quantized, seed=0)
    assert _kept_for_backward(quantized) <= _kept_for_backward(plain)


def test_an_adapter_learns_beside_weights_that_are_the_quantized_ones():
    """The gradients are those of plain LoRA on the weights that the 4 bits stand for."""
    model, other = tiny_llama(), tiny_llama()
    QLora(rank=4).apply(model, seed=1)
    with torch.no_grad():
        for path in adapters.target_paths(other, ("all",)):
            adapters.plain_at(other, path).weight.copy_(adapters.plain_at(model, path).weight)
    Lora(rank=4).apply(other, seed=1)
    for each in (model, other):
        for pair in lora.pairs(each, "default").values():
            torch.nn.init.normal_(pair.b_OR, std=0.1, generator=torch.Generator().manual_seed(0))
        logits(each).square().mean().backward()
    torch.testing.assert_close(logits(model), logits(other))
    expected = lora.pairs(other, "default")
    for path, pair in lora.pairs(model, "default").items():
        for ours, theirs in zip(pair.parameters(), expected[path].parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-7)


def test_what_is_refused_leaves_the_weights_as_they_were():
    model = tiny_llama()
    before = str(model)
    with pytest.raises(ConfigError, match="names 'zzz'"):
        QLora(targets=("zzz",)).apply(model, seed=0)
    assert str(model) == before
    Lora(rank=4).apply(model, seed=0, name="a")
    expected = logits(model).detach()
    with pytest.raises(ConfigError, match="would change the base below a; remove those first"):
        QLora().apply(model, seed=0, name="b")
    assert torch.equal(logits(model), expected)


def test_one_base_in_4_bits_takes_several_adapters_but_no_other_4_bits():
    model = tiny_llama()
    QLora(rank=4).apply(model, seed=0, name="a")
    codes = adapters.plain_at(model, "blocks.0.mixer.q").codes
    QLora(rank=2).apply(model, seed=0, name="b")
    assert adapters.plain_at(model, "blocks.0.mixer.q").codes is codes
    for other in ({"bits": "int4"}, {"block": 32}, {"double_quantization": False}):
        with pytest.raises(ConfigError, match=r"blocks.0.mixer.q is kept as nf4 in blocks of 64 already"):
            QLora(**other).apply(model, seed=0, name="c")


def test_weights_in_4_bits_are_not_merged_into():
    model = tiny_llama()
    QLora(rank=4).apply(model, seed=0, name="a")
    with pytest.raises(ConfigError, match=r"kept in 4 bits. Load the adapter onto the base it came from"):
        lora.merge(model, "a")


@pytest.mark.parametrize("name", ["gpt2", "mixtral", "deepseek_v3", "mamba2", "t5", "bert"])
def test_every_family_trains_beside_4_bits(name):
    torch.manual_seed(0)
    model = Model(family(name).tiny())
    QLora(rank=2, targets=("all",)).apply(model, seed=0)
    attend, pos = PackedAttend([20], [20] if model.config.encoder else None), torch.arange(20)
    source = None if model.config.encoder is None else model.encode(IDS, pos, attend)
    model(IDS, pos, attend, source).square().mean().backward()
    pairs = lora.pairs(model, "default")
    assert set(pairs) == set(adapters.target_paths(model, ("all",)))
    assert any(pair.b_OR.grad is not None and pair.b_OR.grad.any() for pair in pairs.values())


def test_latent_attention_in_4_bits_answers_from_its_cache_as_without_one():
    torch.manual_seed(0)
    model = Model(family("deepseek_v3").tiny()).eval()
    QLora(rank=2, targets=("q", "o"), block=32).apply(model, seed=0)
    attend = CachedAttend()
    with torch.no_grad():
        expected = logits(model)
        parts = []
        for start in range(0, 20, 5):
            at = slice(start, start + 5)
            parts.append(model.logits(model(IDS[at], torch.arange(20)[at], attend)))
    torch.testing.assert_close(torch.cat(parts), expected, atol=2e-5, rtol=1e-4)
