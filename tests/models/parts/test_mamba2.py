"""The chunked state-space scan beside the recurrence that it computes."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mainspring.models.mixer_specs import Mamba2Spec
from mainspring.models.parts.mamba2 import Mamba2, Steps, reference_scan, scan_chunks


def random_steps(length, num_groups=2, seed=0):
    """Steps of two segments, a rate for every head, and a state before them; double, as formulas are compared."""
    generator = torch.Generator().manual_seed(seed)
    heads = 2 * num_groups

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    steps = Steps(
        x_BLHP=draw(2, length, heads, 3),
        dt_BLH=functional.softplus(draw(2, length, heads)),
        in_BLGN=draw(2, length, num_groups, 5),
        out_BLGN=draw(2, length, num_groups, 5),
    )
    return steps, -functional.softplus(draw(heads)), draw(2, heads, 3, 5)


@given(
    length=st.integers(1, 23), chunk=st.integers(1, 9), num_groups=st.integers(1, 3), seed=st.integers(0, 99)
)
@settings(max_examples=40, deadline=None)
def test_chunks_give_what_the_recurrence_gives_and_leave_the_same_state(length, chunk, num_groups, seed):
    steps, a_H, state = random_steps(length, num_groups, seed)
    y, behind = scan_chunks(steps, a_H, state, chunk)
    expected, expected_behind = reference_scan(steps, a_H, state)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(behind, expected_behind, rtol=1e-10, atol=1e-12)


def test_gradients_through_chunks_are_those_of_the_recurrence():
    steps, a_H, state = random_steps(17)
    inputs = [each.requires_grad_() for each in (*steps, a_H, state)]
    both = []
    for y, behind in (scan_chunks(steps, a_H, state, 5), reference_scan(steps, a_H, state)):
        both.append(torch.autograd.grad(y.square().sum() + behind.sin().sum(), inputs))
    for found, expected in zip(*both, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_a_chunk_behind_strong_decays_keeps_single_precision():
    steps, a_H, state = random_steps(64)
    steps = steps._replace(
        dt_BLH=torch.where(torch.arange(64)[None, :, None] < 32, 50.0, 0.01).expand(2, 64, 4)
    )
    a_H = torch.full_like(a_H, -16.0)
    expected, _ = reference_scan(steps, a_H, state)
    single = Steps(*(each.float() for each in steps))
    found, _ = scan_chunks(single, a_H.float(), state.float(), 64)
    assert (found.double() - expected).abs().max() <= 2e-6 * expected.abs().max()


def test_a_new_layer_forgets_at_the_rates_of_the_paper():
    torch.manual_seed(0)
    mixer = Mamba2(Mamba2Spec(num_heads=64, head_size=2, state_size=4, conv_size=4, norm_eps=1e-5), 32, 0)
    rate = mixer.a_log.exp()
    assert 1.0 <= float(rate.min()) < float(rate.max()) <= 16.0
    assert torch.equal(mixer.d, torch.ones(64))
