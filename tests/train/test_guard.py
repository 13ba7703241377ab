import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.train.guard import Best, EarlyStop, Guard, GuardConfig, StopConfig

NAN, INF = math.nan, math.inf


def actions(config, losses, state=None):
    guard = Guard(config, state)
    return [guard.judge(number, loss, 1.0, ["a"]).action for number, loss in enumerate(losses, start=1)]


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_stops_at_once_unless_skips_are_allowed(bad, what):
    values = (bad, 1.0) if what == "loss" else (1.0, bad)
    verdict = Guard(GuardConfig()).judge(3, *values, ["conversation 1", "conversation 4"])
    assert verdict.action == "stop"
    expected = f"The {what} of step 3 is not finite; the weights are as they were before it. It learnt from: "
    assert verdict.reason.startswith(
        expected + "conversation 1, conversation 4. Look at these, lower `optim.lr`"
    )
    skipped = Guard(GuardConfig(max_skips=1)).judge(3, *values, ["x"])
    assert skipped.action == "skip"
    assert skipped.reason == expected + "x."


def test_a_good_step_forgives_skips_and_one_too_many_in_a_row_stops():
    config = GuardConfig(max_skips=2)
    assert actions(config, [1, NAN, NAN, 1, NAN, NAN, NAN]) == [
        "take", "skip", "skip", "take", "skip", "skip", "stop",
    ]  # fmt: skip
    guard = Guard(config)
    for number in range(1, 4):
        verdict = guard.judge(number, NAN, 1.0, ["a"])
    assert "3 steps in a row were skipped" in verdict.reason
    assert (guard.skipped, guard.skipped_in_row) == (3, 3)


def test_a_spike_is_told_by_the_median_and_its_deviation():
    config = GuardConfig(max_skips=9, spike_factor=4.0, window=5)
    recent = [1.0, 2.0, 3.0, 4.0, 5.0]  # median 3, median deviation 1: the limit is 3 + 4 * 1.4826 = 8.9304
    assert actions(config, [*recent, 8.93]) == 6 * ["take"]
    guard = Guard(config, {"recent": recent})
    verdict = guard.judge(6, 8.94, 1.0, ["a"])
    assert verdict.action == "skip"
    assert "is 8.94, a spike: the median of the last 5 is 3, and 4.0 deviations lie between" in verdict.reason
    assert guard.state()["recent"] == recent


def test_no_spike_is_seen_before_the_window_is_full_nor_where_none_is_looked_for():
    assert actions(GuardConfig(spike_factor=4.0, window=5), [1.0, 1.1, 1.0, 1.1, 100.0]) == 5 * ["take"]
    assert actions(GuardConfig(), [1.0, 1.1] * 25 + [100.0]) == 51 * ["take"]


def test_equal_losses_make_no_spike_of_rounding_and_lower_ones_never_are():
    config = GuardConfig(spike_factor=4.0, window=5)
    assert actions(config, [2.0] * 5 + [2.0 + 7e-3, 0.0, -50.0]) == 8 * ["take"]
    assert actions(config, [2.0] * 5 + [2.0 + 9e-3])[-1] == "stop"


def test_a_long_list_of_segments_is_cut():
    verdict = Guard(GuardConfig()).judge(1, NAN, 1.0, [f"s{n}" for n in range(25)])
    assert "s19 and 5 more." in verdict.reason
    assert "s20" not in verdict.reason


@given(
    losses=st.lists(st.one_of(st.floats(0, 10), st.sampled_from([NAN, INF, 1e6])), max_size=40),
    cut=st.integers(0, 40),
    max_skips=st.integers(0, 3),
)
def test_a_guard_that_was_saved_and_restored_decides_as_the_whole_one(losses, cut, max_skips):
    config = GuardConfig(max_skips=max_skips, spike_factor=3.0, window=5)
    guard = Guard(config)
    first = [guard.judge(n, loss, 1.0, ["a"]).action for n, loss in enumerate(losses[:cut])]
    assert first + actions(config, losses[cut:], json.loads(json.dumps(guard.state()))) == actions(
        config, losses
    )


def stops(values, cut=0, **config):
    stop = EarlyStop(StopConfig(**config))
    said = [stop.should_stop(value) for value in values[:cut]]
    stop = EarlyStop(StopConfig(**config), json.loads(json.dumps(stop.state())))
    return said + [stop.should_stop(value) for value in values[cut:]]


@pytest.mark.parametrize("cut", range(7))
def test_a_run_stops_after_its_patience(cut):
    assert stops([3, 2, 2, NAN, 1, 1, 1], cut, patience=2) == [False, False, False, True, False, False, True]
    assert stops([3, 2.9, 2.8, 2.4], cut, patience=2, min_delta=0.5) == [False, False, True, False]
    assert not any(stops([1, 2, 3, 4, 5, 6, 7], cut))


def test_the_best_evaluation_is_the_earliest_of_the_lowest():
    best = Best()
    assert [best.is_best(step, value) for step, value in ((1, NAN), (2, 3.0), (3, 2.0), (4, 2.0))] == [
        False, True, True, False,
    ]  # fmt: skip
    again = Best(json.loads(json.dumps(best.state())))
    assert (again.step, again.value) == (3, 2.0)
    assert not again.is_best(5, 2.5)
    assert again.is_best(6, 1.5)
