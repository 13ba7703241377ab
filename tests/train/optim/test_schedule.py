import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.config import build
from mainspring.errors import ConfigError
from mainspring.train.optim import AdamW, lr_at
from mainspring.train.optim.schedule import num_warmup

FALLING = ("cosine", "linear", "wsd")


def rates(num_steps, **values):
    config = build(AdamW, {"lr": 1.0, **values})
    return [lr_at(step, num_steps, config) for step in range(num_steps + 1)]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "step", "wsd"])
def test_the_rate_rises_to_its_top_and_never_rises_again(schedule):
    found = rates(20, warmup_fraction=0.2, schedule=schedule)
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    assert found[4] == 1.0
    assert found[4:] == sorted(found[4:], reverse=True)


def test_a_warm_up_may_be_told_in_steps():
    assert rates(10, warmup_steps=2, schedule="constant") == [0.5] + 10 * [1.0]
    assert rates(10, warmup_steps=0, warmup_fraction=0.5, schedule="constant") == 11 * [1.0]


def test_a_warm_up_that_is_longer_than_the_run_is_refused():
    with pytest.raises(ConfigError, match=r"`optim.warmup_steps` is 11, but the run has 10 steps"):
        rates(10, warmup_steps=11)
    assert rates(10, warmup_steps=10)[9] == 1.0


def test_cosine_and_linear_follow_their_formulas():
    cosine = rates(100, warmup_fraction=0.0, min_lr_fraction=0.1)
    assert cosine[50] == pytest.approx(0.55)
    assert cosine[25] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    linear = rates(100, warmup_fraction=0.0, schedule="linear", min_lr_fraction=0.1)
    assert linear[25] == pytest.approx(0.1 + 0.9 * 0.75)


def test_step_drops_at_its_parts_and_not_below_the_floor():
    found = rates(8, warmup_steps=0, schedule="step", drop_at=[0.25, 0.5, 0.75], drop_factor=0.5)
    assert found == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.125]
    assert rates(8, warmup_steps=0, schedule="step", drop_factor=0.1, min_lr_fraction=0.3)[-1] == 0.3


def test_a_drop_within_the_warm_up_is_refused():
    with pytest.raises(ConfigError, match=r"drop_at` begins with 0.25, which is step 2 of 8, within"):
        rates(8, warmup_steps=2, schedule="step", drop_at=[0.25])


def test_wsd_is_stable_until_its_last_part():
    linear = rates(10, warmup_steps=2, schedule="wsd", decay_fraction=0.4, min_lr_fraction=0.2)
    assert linear == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    sqrt = rates(10, warmup_steps=2, schedule="wsd", decay_fraction=0.4, decay_shape="sqrt")
    assert sqrt[6:] == pytest.approx([1, 1 - math.sqrt(0.25), 1 - math.sqrt(0.5), 1 - math.sqrt(0.75), 0])


def test_a_decay_that_would_begin_in_the_warm_up_begins_after_it():
    assert rates(10, warmup_steps=5, schedule="wsd", decay_fraction=1.0)[4:7] == pytest.approx([1, 1, 0.8])


@given(
    num_steps=st.integers(1, 300),
    schedule=st.sampled_from([*FALLING, "constant", "step"]),
    warmup=st.one_of(st.floats(0, 0.49), st.integers(0, 300)),
    floor=st.floats(0, 1),
    decay=st.floats(0.01, 1),
)
def test_rates_are_never_negative_whole_after_the_warm_up_and_end_at_the_floor(
    num_steps, schedule, warmup, floor, decay
):
    by_steps = isinstance(warmup, int)
    values = {"warmup_steps": min(warmup, num_steps // 3)} if by_steps else {"warmup_fraction": warmup}
    values |= {"min_lr_fraction": floor} if schedule != "constant" else {}
    values |= {"decay_fraction": decay} if schedule == "wsd" else {}
    values |= {"drop_at": [0.9]} if schedule == "step" else {}
    config = build(AdamW, {"lr": 1.0, "schedule": schedule, **values})
    steps = num_warmup(num_steps, config)
    if schedule == "step" and steps >= 0.9 * num_steps:
        return
    found = [lr_at(step, num_steps, config) for step in range(num_steps + 1)]
    assert all(0 <= rate <= 1 for rate in found)
    assert steps == 0 or found[steps - 1] == 1.0
    if steps < num_steps:
        assert found[steps] == pytest.approx(1.0)
        assert schedule not in FALLING or found[-1] == pytest.approx(floor, abs=1e-12)
    assert schedule != "step" or found[-1] == max(0.1, floor)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schedule": "constant", "min_lr_fraction": 0.1}, "the schedule 'constant' has none"),
        ({"decay_fraction": 0.5}, "`decay_fraction` is 0.5, but the schedule 'cosine' has none. .* to wsd"),
        ({"schedule": "step", "drop_at": [0.5, 0.5]}, "it must rise, between 0 and 1"),
        ({"schedule": "step", "drop_at": [1.0]}, "it must rise, between 0 and 1"),
    ],
)
def test_what_a_schedule_would_ignore_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        build(AdamW, values)
