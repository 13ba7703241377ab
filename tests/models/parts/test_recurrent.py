import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mainspring.models.attend import PackedAttend
from mainspring.models.cache import CachedAttend
from mainspring.models.parts.base import Pass
from mainspring.models.parts.recurrent import CausalConv, decay_between, mix_runs, time_step_bias


def around(attend):
    return Pass(pos_T=torch.zeros(0, dtype=torch.int64), attend=attend, rope=lambda *_: None)


def running_sum(state, x_BLX):
    """The simplest mixer with a state: sums of a segment so far."""
    before = 0.0 if state is None else state[0]
    sums = x_BLX.cumsum(1) + (before if state is None else before.unsqueeze(1))
    return sums, (sums[:, -1],)


@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=8), tail=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_every_segment_starts_from_nothing_and_what_stands_behind_them_gets_zeros(lengths, tail):
    x_TX = torch.randn(sum(lengths) + tail, 2, generator=torch.Generator().manual_seed(0))
    if not len(x_TX):
        return
    found = mix_runs(around(PackedAttend(lengths)), 0, (x_TX,), running_sum)
    parts = [part.cumsum(0) for part in x_TX[: sum(lengths)].split(lengths) if len(part)]
    torch.testing.assert_close(found, torch.cat([*parts, torch.zeros(tail, 2)]))


def test_a_cache_hands_each_segment_its_own_state_on_layer_by_layer():
    cache = CachedAttend(num_segments=2)
    x_BLX = torch.randn(2, 6, 3)
    for layer in (0, 5):
        pieces = [
            mix_runs(around(cache), layer, (part.flatten(0, 1),), running_sum).unflatten(0, (2, -1))
            for part in x_BLX.split([3, 1, 2], dim=1)
        ]
        torch.testing.assert_close(torch.cat(pieces, dim=1), x_BLX.cumsum(1))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", [[7], [1] * 7, [2, 4, 1]])
def test_the_convolution_is_torchs_own_whole_and_in_pieces(bias, lengths):
    torch.manual_seed(0)
    conv, x_BLX = CausalConv(5, 4, bias=bias), torch.randn(2, 7, 5)
    padded_BXL = functional.pad(x_BLX.transpose(1, 2), (3, 0))
    expected = functional.silu(functional.conv1d(padded_BXL, conv.weight, conv.bias, groups=5)).transpose(
        1, 2
    )
    last, pieces = None, []
    for part in x_BLX.split(lengths, dim=1):
        y, last = conv(around(CachedAttend()), part, last)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected)
    torch.testing.assert_close(last, x_BLX[:, -3:])


def test_a_decay_is_the_product_of_the_steps_between_also_behind_a_huge_one():
    log_BLH = -torch.rand(2, 9, 3, generator=torch.Generator().manual_seed(0)) * 0.01
    log_BLH[:, 3] = -5000.0
    found = decay_between(log_BLH)
    for later in range(9):
        for earlier in range(9):
            between = log_BLH[:, earlier + 1 : later + 1].double().sum(1).exp()
            expected = between if earlier <= later else torch.zeros(2, 3)
            torch.testing.assert_close(
                found[:, :, later, earlier].double(), expected.double(), rtol=1e-6, atol=0
            )


def test_time_steps_start_between_a_thousandth_and_a_tenth_evenly_by_their_logarithm():
    torch.manual_seed(0)
    step = functional.softplus(time_step_bias(20_000).detach())
    assert 0.9e-3 <= float(step.min()) < 1.1e-3
    assert 0.09 < float(step.max()) <= 0.1001
    assert abs(float((step < 1e-2).float().mean()) - 0.5) < 0.02
