import torch
from torch.nn.functional import rms_norm

from mainspring.models.parts import half
from mainspring.models.parts.half import RmsNorm, rms, turned
from mainspring.models.parts.rope import rotate


def numbers(*shape, dtype=torch.float64, seed=0):
    made = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return made.to(dtype).requires_grad_()


def assert_same(ours, theirs, inputs, *, rtol):
    gradient = torch.randn(ours.shape, generator=torch.Generator().manual_seed(9)).to(ours.dtype)
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=rtol, atol=rtol)
    pairs = (torch.autograd.grad(each, inputs, gradient.to(each.dtype)) for each in (ours, theirs))
    for own, other in zip(*pairs, strict=True):
        torch.testing.assert_close(own, other.to(own.dtype), rtol=rtol, atol=rtol)


def test_the_norms_own_gradient_is_that_of_torch():
    x, weight = numbers(5, 3, 16), numbers(16, seed=1)
    assert_same(rms(x, weight, 1e-5), rms_norm(x, (16,), weight, 1e-5), (x, weight), rtol=1e-12)


def test_the_norm_takes_its_own_way_only_where_products_are_in_bf16():
    norm, x = RmsNorm(16, eps=1e-5), numbers(5, 16, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        own = norm(x)
    assert type(own.grad_fn) is not type(norm(x).grad_fn)
    assert own.dtype == torch.float32
    torch.testing.assert_close(own, norm(x))


def test_turned_pairs_are_those_of_the_plain_rotation_in_as_many_blocks_as_it_takes(monkeypatch):
    monkeypatch.setattr(half, "CACHED", 3 * 2 * 8)
    x, angle = numbers(10, 2, 8, dtype=torch.float32), numbers(10, 1, 4).detach().float()
    both = torch.cat([angle, angle], dim=-1)
    ours = turned(x, angle.cos(), angle.sin())
    assert_same(ours, rotate(x, (both.cos(), both.sin())), (x,), rtol=1e-6)


def test_turning_in_bf16_rounds_once():
    x, angle = numbers(10, 2, 8, dtype=torch.bfloat16), numbers(10, 1, 4).detach().float()
    full = turned(x.detach().float(), angle.cos(), angle.sin())
    assert torch.equal(turned(x, angle.cos(), angle.sin()), full.bfloat16())
