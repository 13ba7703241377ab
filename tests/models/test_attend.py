import pytest
import torch

from mainspring.models.attend import PackedAttend, reference_attend


def heads(num_tokens, num_heads, *, seed=0):
    return torch.randn(num_tokens, num_heads, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("lengths", [[5], [3, 3, 3], [1, 4, 4, 2, 4], [2, 0, 2]])
def test_each_packed_segment_gets_what_it_gets_alone_by_the_formula(lengths, causal):
    num_tokens = sum(lengths)
    q, k, v = heads(num_tokens, 4), heads(num_tokens, 2, seed=1), heads(num_tokens, 2, seed=2)
    out = PackedAttend(lengths)(0, q, k, v, causal=causal)
    parts = zip(q.split(lengths), k.split(lengths), v.split(lengths), strict=True)
    alone = torch.cat([reference_attend(*part, causal=causal) for part in parts if len(part[0])])
    torch.testing.assert_close(out, alone, atol=1e-6, rtol=1e-5)


def test_what_stands_behind_the_last_segment_gets_zeros():
    x = heads(7, 2)
    out = PackedAttend([2, 2])(0, x, x, x, causal=True)
    assert out.shape == x.shape
    assert torch.equal(out[4:], torch.zeros(3, 2, 8))


def test_no_gradient_flows_from_one_segment_to_another():
    x = heads(6, 2).requires_grad_()
    PackedAttend([3, 3])(0, x, x, x, causal=False)[:3].sum().backward()
    assert x.grad is not None
    assert x.grad[:3].abs().sum() > 0
    assert torch.equal(x.grad[3:], torch.zeros(3, 2, 8))
