"""The chunked gated delta rule beside the recurrence that it computes."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mainspring.models.mixer_specs import DeltaSpec
from mainspring.models.parts.delta import Delta, Steps, reference_scan, scan_chunks


def random_steps(length, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    steps = Steps(
        q_BLHK=draw(2, length, 3, 4),
        k_BLHK=functional.normalize(draw(2, length, 3, 4), dim=-1),
        v_BLHV=draw(2, length, 3, 5),
        log_BLH=-functional.softplus(draw(2, length, 3)),
        beta_BLH=draw(2, length, 3).sigmoid(),
    )
    return steps, draw(2, 3, 4, 5)


@given(length=st.integers(1, 23), chunk=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_chunks_give_what_the_recurrence_gives_and_leave_the_same_state(length, chunk, seed):
    steps, state = random_steps(length, seed)
    y, behind = scan_chunks(steps, state, chunk)
    expected, expected_behind = reference_scan(steps, state)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(behind, expected_behind, rtol=1e-10, atol=1e-12)


def test_gradients_through_chunks_are_those_of_the_recurrence():
    steps, state = random_steps(17)
    inputs = [each.requires_grad_() for each in (*steps, state)]
    both = []
    for y, behind in (scan_chunks(steps, state, 5), reference_scan(steps, state)):
        both.append(torch.autograd.grad(y.square().sum() + behind.sin().sum(), inputs))
    for found, expected in zip(*both, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_what_was_written_under_a_key_is_read_back_and_a_second_writing_replaces_it():
    key, other = torch.eye(4, dtype=torch.float64)[:2]
    values = torch.randn(3, 5, dtype=torch.float64)
    steps = Steps(
        q_BLHK=torch.stack([key, other, key])[None, :, None],
        k_BLHK=torch.stack([key, other, key])[None, :, None],
        v_BLHV=values[None, :, None],
        log_BLH=torch.zeros(1, 3, 1, dtype=torch.float64),
        beta_BLH=torch.ones(1, 3, 1, dtype=torch.float64),
    )
    y, state = scan_chunks(steps, torch.zeros(1, 1, 4, 5, dtype=torch.float64))
    torch.testing.assert_close(y[0, :, 0], values)
    torch.testing.assert_close(key @ state[0, 0], values[2])
    torch.testing.assert_close(other @ state[0, 0], values[1])


def test_a_new_layer_forgets_at_the_rates_of_the_paper():
    torch.manual_seed(0)
    spec = DeltaSpec(num_heads=64, num_key_heads=32, key_size=2, value_size=2, conv_size=4, norm_eps=1e-5)
    mixer = Delta(spec, 16, 0)
    rate = mixer.a_log.exp()
    assert 1.0 <= float(rate.min()) < float(rate.max()) <= 16.0
