"""The selective scan in chunks beside a loop over tokens."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mainspring.models.mixer_specs import MambaSpec
from mainspring.models.parts.mamba import WIDE, Mamba, Scan, Steps, associative_scan, scan_chunks


def loop(steps, a_IN, state_BIN):
    """The recurrence as the paper writes it."""
    out = []
    for x_BI, dt_BI, in_BN, out_BN in zip(*(each.unbind(1) for each in steps), strict=True):
        decay_BIN = (dt_BI.unsqueeze(-1) * a_IN).exp()
        state_BIN = decay_BIN * state_BIN + torch.einsum("bi,bi,bn->bin", dt_BI, x_BI, in_BN)
        out.append(torch.einsum("bin,bn->bi", state_BIN, out_BN))
    return torch.stack(out, dim=1), state_BIN


NARROW, BROAD = 3, WIDE // 8  # channels of two segments with four numbers each


def random_steps(length, seed=0, inner=NARROW, size=4):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    steps = Steps(
        x_BLI=draw(2, length, inner),
        dt_BLI=functional.softplus(draw(2, length, inner)),
        in_BLN=draw(2, length, size),
        out_BLN=draw(2, length, size),
    )
    return steps, -functional.softplus(draw(inner, size)), draw(2, inner, size)


@given(
    length=st.integers(1, 40),
    chunk=st.integers(1, 17),
    inner=st.sampled_from([NARROW, BROAD]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_chunks_give_what_the_loop_gives_and_leave_the_same_state(length, chunk, inner, seed):
    steps, a_IN, state = random_steps(length, seed, inner)
    expected, expected_behind = loop(steps, a_IN, state)
    for is_training in (False, True):
        with torch.set_grad_enabled(is_training):
            y, behind = scan_chunks(steps, a_IN, state, chunk)
        torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(behind, expected_behind, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("inner", [NARROW, BROAD])
def test_gradients_through_chunks_are_those_of_the_loop(inner):
    steps, a_IN, state = random_steps(21, inner=inner)
    inputs = [each.requires_grad_() for each in (*steps, a_IN, state)]
    both = []
    for y, behind in (scan_chunks(steps, a_IN, state, 8), loop(steps, a_IN, state)):
        both.append(torch.autograd.grad(y.square().sum() + behind.sin().sum(), inputs))
    for found, expected in zip(*both, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_the_scans_own_gradient_is_that_of_finite_differences():
    decay, added = torch.rand(2, 7, 2, 3, dtype=torch.float64), torch.randn(2, 7, 2, 3, dtype=torch.float64)
    inputs = [each.requires_grad_() for each in (decay, added, torch.ones(2, 2, 3, dtype=torch.float64))]
    assert torch.autograd.gradcheck(Scan.apply, inputs)


def test_decays_of_zero_and_huge_steps_overflow_nothing():
    decay, added = torch.zeros(1, 100, 1, 1), torch.full((1, 100, 1, 1), 1e30)
    assert torch.equal(associative_scan(decay, added), added)
    for inner in (NARROW, BROAD):
        steps, a_IN, state = random_steps(100, inner=inner)
        steps = Steps(*(each.float() for each in steps))._replace(dt_BLI=torch.full((2, 100, inner), 300.0))
        y, behind = scan_chunks(steps, a_IN.float(), state.float())
        assert y.isfinite().all()
        assert behind.isfinite().all()


def test_a_training_pass_does_not_hold_the_states_of_all_tokens():
    length, inner, size = 512, 8, 16
    steps, a_IN, state = random_steps(length, inner=inner, size=size)
    steps = Steps(*(each.requires_grad_() for each in steps))
    held = []

    def pack(tensor):
        held.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        scan_chunks(steps, a_IN, state)
    assert sum(held) < 2 * length * inner * size // 2


def test_a_new_layer_forgets_at_the_rates_of_the_paper():
    torch.manual_seed(0)
    mixer = Mamba(MambaSpec(inner=32, state_size=4, dt_rank=2, conv_size=4, norm_eps=1e-5), 16, 0)
    torch.testing.assert_close(mixer.a_log.exp(), torch.arange(1.0, 5.0).repeat(32, 1))
    step = functional.softplus(mixer.dt.bias)
    assert 0.9e-3 <= float(step.min()) < float(step.max()) <= 0.1001
