"""Latent attention: both its forms beside each other, and what a cache keeps of it."""

import pytest
import torch

from mainspring.infer.paged import KvCache
from mainspring.models.attend import PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.config import LatentSpec, NormSpec, RopeSpec
from mainspring.models.families.base import family
from mainspring.models.model import Model
from mainspring.models.parts.base import Pass
from mainspring.models.parts.latent import LatentAttention
from mainspring.models.parts.rope import Rope

WIDTH, LENGTH = 48, 21
SPEC = LatentSpec(
    num_heads=4, q_rank=20, kv_rank=16, plain_size=12, rope_size=8, value_size=10,
    rope=RopeSpec(theta=1e4), norm=NormSpec(kind="rms", eps=1e-6), is_interleaved=True,
)  # fmt: skip
SPECS = {
    "as published": SPEC,
    "queries of the token itself": SPEC.model_copy(update={"q_rank": None}),
    "pairs in two halves": SPEC.model_copy(update={"is_interleaved": False}),
    "a scale of its own": SPEC.model_copy(update={"scale": 0.5}),
}


def attention(spec):
    torch.manual_seed(0)
    made = LatentAttention(spec, WIDTH, 0)
    with torch.no_grad():
        made.kv_norm.weight.normal_(1.0, 0.3)
    return made


def passed(pos_T, attend):
    return Pass(pos_T=pos_T, attend=attend, rope=lambda spec, size: Rope(spec, size, 64).tables(pos_T))


def hidden(num_tokens=LENGTH):
    return torch.randn(num_tokens, WIDTH, generator=torch.Generator().manual_seed(1))


def by_formula(made, x_TD):
    """Keys and values of every head, pair after pair rotated, as arXiv:2405.04434, eq. 9 to 19, reads."""
    spec, out = made.spec, []
    latent_TC, turned_TP = made.kv_down(x_TD).split([spec.kv_rank, spec.rope_size], dim=1)
    both_THX = made.kv_up(made.kv_norm(latent_TC)).view(len(x_TD), spec.num_heads, -1)
    q_TX = made.q(x_TD if spec.q_rank is None else made.q_norm(made.q_down(x_TD)))
    q_THK = q_TX.view(len(x_TD), spec.num_heads, -1)
    for head in range(spec.num_heads):
        k_TN, v_TV = both_THX[:, head].split([spec.plain_size, spec.value_size], dim=1)
        q_TN, q_TP = q_THK[:, head].split([spec.plain_size, spec.rope_size], dim=1)
        scores = q_TN @ k_TN.t() + turned(q_TP, spec) @ turned(turned_TP, spec).t()
        scores = scores * (spec.scale or (spec.plain_size + spec.rope_size) ** -0.5)
        future = torch.ones(len(x_TD), len(x_TD), dtype=torch.bool).triu(1)
        out.append(scores.masked_fill(future, float("-inf")).softmax(1) @ v_TV)
    return made.o(torch.cat(out, dim=1))


def turned(x_TP, spec):
    """Complex numbers turned by their token's angle."""
    if spec.is_interleaved:
        pairs = torch.view_as_complex(x_TP.unflatten(1, (-1, 2)).contiguous())
    else:
        pairs = torch.complex(*x_TP.chunk(2, dim=1))
    frequency = spec.rope.theta ** -(torch.arange(0, spec.rope_size, 2) / spec.rope_size)
    angle = torch.outer(torch.arange(len(x_TP)), frequency)
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(1)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@torch.no_grad()
def test_attention_over_heads_is_the_formula(spec):
    made, x_TD = attention(spec), hidden()
    found = made(x_TD, passed(torch.arange(LENGTH), PackedAttend([LENGTH])))
    torch.testing.assert_close(found, by_formula(made, x_TD), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("steps", [[LENGTH], [1] * LENGTH, [9, 1, 1, 10]])
@torch.no_grad()
def test_attention_over_cached_latents_equals_that_over_heads(spec, steps):
    made, x_TD, cache = attention(spec), hidden(), CachedAttend()
    expected = made(x_TD, passed(torch.arange(LENGTH), PackedAttend([LENGTH])))
    found = [made(part, passed(cache.positions(len(part)), cache)) for part in x_TD.split(steps)]
    torch.testing.assert_close(torch.cat(found), expected, atol=1e-6, rtol=1e-5)


def test_gradients_of_both_forms_are_equal():
    made, x_TD = attention(SPEC), hidden()
    found = []
    for attend in (PackedAttend([LENGTH]), CachedAttend()):
        made.zero_grad()
        made(x_TD, passed(torch.arange(LENGTH), attend)).square().sum().backward()
        found.append([p.grad.clone() for p in made.parameters()])
    for over_heads, over_latents in zip(*found, strict=True):
        torch.testing.assert_close(over_latents, over_heads, atol=1e-5, rtol=1e-4)


def num_stored(tensors):
    """fp32 numbers in the memory behind some tensors, memory that two of them share counted once."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() // 4 for t in tensors}.values())


@torch.no_grad()
def test_the_plain_cache_stores_a_latent_and_one_rotated_key_a_token():
    made, cache = attention(SPEC), CachedAttend()
    for part in hidden().split([LENGTH - 1, 1]):
        made(part, passed(cache.positions(len(part)), cache))
    assert cache.num_numbers == LENGTH * SPEC.cached_numbers
    kept = [each for held in vars(cache).values() if isinstance(held, dict) for each in held.values()]
    assert num_stored(kept) == LENGTH * (16 + 8)
    assert SPEC.cached_numbers == 16 + 8


def test_the_engines_cache_stores_a_latent_and_one_rotated_key_a_token_and_layer():
    config = family("deepseek_v3").tiny()
    cache = KvCache(config, 10, 10, torch.float32)
    expected = 100 * sum(block.mixer.cached_numbers for block in config.blocks)
    assert num_stored([*cache.keys, *cache.values]) == expected == 100 * 3 * (32 + 8)


def test_scores_over_latents_cost_what_the_spec_says():
    """Multiplications and additions of one decoded token, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    made, cache = attention(SPEC), CachedAttend()
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        made(hidden(LENGTH - 1), passed(cache.positions(LENGTH - 1), cache))
        with FlopCounterMode(display=False) as counter:
            made(hidden(1), passed(cache.positions(1), cache))
    weights = sum(p.numel() for p in made.parameters() if p.dim() == 2)
    assert counter.get_total_flops() == SPEC.work(LENGTH) + 2 * weights


def test_a_config_of_latents_is_rebuilt_from_its_own_dump():
    config = family("deepseek_v3").tiny()
    assert type(config).model_validate(config.model_dump()) == config
    assert Model(config).blocks[0].mixer.spec == config.blocks[0].mixer
