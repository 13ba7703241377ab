import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes_shards import write_shards
from mainspring.config import build
from mainspring.data.curriculum import OrderConfig, Shuffled, Staged, make_order
from mainspring.errors import ConfigError

SCORES = st.lists(st.integers(0, 20), min_size=1, max_size=60)


def drawn(order, first, count):
    return order.at(np.arange(first, first + count)).tolist()


@given(st.integers(1, 300), st.integers(0, 9))
def test_a_shuffled_pass_takes_every_segment_once_and_each_pass_is_another(size, seed):
    order = Shuffled(size, seed)
    passes = [drawn(order, epoch * size, size) for epoch in range(2)]
    assert all(sorted(each) == list(range(size)) for each in passes)
    assert size < 10 or passes[0] != passes[1]
    assert drawn(order, 0, 2 * size) == passes[0] + passes[1]


@given(SCORES, st.integers(1, 70))
def test_stages_are_equal_parts_by_score_and_shuffled_within(scores, stages):
    order = Staged(np.array(scores, dtype=float), stages, seed=1)
    size, num_stages = len(scores), min(stages, len(scores))
    for epoch in range(2):
        found = drawn(order, epoch * size, size)
        assert sorted(found) == list(range(size))
        borders = [stage * size // num_stages for stage in range(num_stages + 1)]
        for left, right in itertools.pairwise(borders):
            got = sorted(scores[index] for index in found[left:right])
            assert got == sorted(scores)[left:right]


@given(SCORES, st.booleans())
def test_no_stages_sort_strictly_and_stably(scores, descending):
    order = Staged(np.array(scores, dtype=float), 0, seed=1, descending=descending)
    sign = -1 if descending else 1
    assert drawn(order, 0, len(scores)) == sorted(range(len(scores)), key=lambda index: sign * scores[index])


def test_long_stages_are_shuffled_otherwise_in_every_pass():
    order = Staged(np.zeros(100), 2, seed=1)
    assert drawn(order, 0, 50) != list(range(50))
    assert drawn(order, 0, 100) != drawn(order, 100, 100)


def test_an_order_is_by_length_by_a_kept_score_by_a_given_one_or_as_written(tmp_path):
    shards = write_shards(tmp_path, [5, 3, 4], scores=("loss",))  # losses 0, -1, -2

    def order(by, scores=None):
        config = build(OrderConfig, {"by": by, "stages": 0})
        return drawn(make_order(shards, config, 0, scores), 0, 3)

    assert order("length") == [1, 2, 0]
    assert order("loss") == [2, 1, 0]
    assert order("written") == [0, 1, 2]
    assert order("loss", np.array([2.0, 9.0, 1.0])) == [2, 0, 1]


def test_a_score_that_is_not_there_is_refused(tmp_path):
    shards = write_shards(tmp_path, [5, 3], scores=("loss",))
    with pytest.raises(ConfigError, match="keep no score 'quality'; they keep length, loss"):
        make_order(shards, build(OrderConfig, {"by": "quality"}), 0)
    with pytest.raises(ConfigError, match="1 of 2 segments have no score"):
        make_order(shards, OrderConfig(), 0, np.array([1.0, np.nan]))
    with pytest.raises(ConfigError, match="3 scores were given for 2 segments"):
        make_order(shards, OrderConfig(), 0, np.zeros(3))
