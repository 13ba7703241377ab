import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from mainspring.models.attend import PackedAttend, Scoring
from mainspring.models.short_attend import BLOCK, MAX_TOKENS, attend_short


def heads(num_segments, num_heads, num_tokens, *, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(num_segments, num_heads, num_tokens, 8, generator=generator, dtype=torch.float64)
    return made.to(dtype).requires_grad_()


def gradients(out, inputs):
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(out.dtype)
    return torch.autograd.grad(out, inputs, weights)


@pytest.mark.parametrize("num_tokens", [1, 5, BLOCK, BLOCK + 1, 2 * BLOCK + 40])
@pytest.mark.parametrize("num_kv_heads", [1, 2, 4])
def test_blocks_of_queries_give_the_formula_and_its_gradient(num_tokens, num_kv_heads):
    q = heads(3, 4, num_tokens)
    k, v = (heads(3, num_kv_heads, num_tokens, seed=seed) for seed in (1, 2))
    ours = attend_short(q, k, v, 0.3)
    theirs = scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    for own, other in zip(gradients(ours, (q, k, v)), gradients(theirs, (q, k, v)), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-9)


def test_no_query_has_a_gradient_at_a_later_key():
    q, k, v = (heads(1, 2, 2 * BLOCK + 40, seed=seed) for seed in range(3))
    at = BLOCK + 3
    for gradient in torch.autograd.grad(attend_short(q, k, v, 0.3)[:, :, at].sum(), (k, v)):
        assert gradient[:, :, : at + 1].abs().sum() > 0
        assert torch.count_nonzero(gradient[:, :, at + 1 :]) == 0


def packed(lengths, dtype):
    q, k, v = (torch.randn(sum(lengths), count, 8, dtype=dtype, requires_grad=True) for count in (4, 2, 2))
    return PackedAttend(lengths)(0, q, k, v, Scoring(scale=0.3)), (q, k, v)


def test_training_in_bf16_takes_it_and_leaks_nothing_between_packed_segments():
    with torch.autocast("cpu", torch.bfloat16):
        out, inputs = packed([5, 200, 200, 3], torch.bfloat16)
    for gradient in torch.autograd.grad(out[5:205].sum(), inputs):
        assert torch.count_nonzero(gradient[:5]) + torch.count_nonzero(gradient[205:]) == 0


@pytest.mark.parametrize("num_tokens", [200, MAX_TOKENS])
def test_in_bf16_scores_are_rounded_so_it_is_up_to_three_times_as_far_from_the_truth_as_torchs_kernel(
    num_tokens,
):
    q, k, v = (heads(1, 2, num_tokens, dtype=torch.bfloat16, seed=seed) for seed in range(3))
    truth = scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=True, scale=0.35)
    theirs = scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.35)
    ours = attend_short(q, k, v, 0.35)
    assert (ours - truth).norm() < 3 * (theirs - truth).norm()
