import pytest

from mainspring.config import build
from mainspring.errors import ConfigError
from mainspring.train.config import TrainConfig
from mainspring.train.steps import plan_steps


def planned(source, **values):
    return plan_steps(source, build(TrainConfig, values))


def test_every_pass_takes_every_segment(source):
    steps = planned(source, epochs=3, segments_per_step=4)
    assert [len(step.indices) for step in steps] == [4, 2] * 3
    assert sorted(index for step in steps[:2] for index in step.indices) == list(range(6))
    assert [(step.start.epoch, step.start.position) for step in steps[:3]] == [(0, 0), (0, 4), (1, 0)]


@pytest.mark.parametrize("limit", [40, 55, 80, 200])
def test_the_weights_used_never_exceed_the_limit(source, limit):
    steps = planned(source, epochs=50, segments_per_step=4, max_trained_tokens=limit)
    used = [source.segment(index).trained_tokens for step in steps for index in step.indices]
    longest = max(source.segment(index).trained_tokens for index in range(6))
    assert limit - longest < sum(used) <= limit
    assert sum(step.trained_tokens for step in steps) == sum(used)


def test_a_limit_below_the_first_segment_is_refused(source):
    with pytest.raises(ConfigError, match=r"`max_trained_tokens` is 1, but the first of 6 segments"):
        planned(source, max_trained_tokens=1)
