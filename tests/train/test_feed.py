import pytest

from mainspring.config import build
from mainspring.errors import ConfigError
from mainspring.train.config import TrainConfig
from mainspring.train.feed import ItemFeed
from mainspring.train.ranks import Ranks


def feed(source, ranks=None, **values):
    return ItemFeed(source, build(TrainConfig, values), ranks or Ranks())


def names(steps):
    return [[item[0].name for item in step.items] for step in steps]


def test_every_pass_takes_every_item(source):
    steps = names(feed(source, epochs=3, items_per_step=4).steps({}))
    assert [len(step) for step in steps] == [4, 2] * 3
    every = sorted(source.item(index)[0].name for index in range(6))
    assert all(sorted(steps[at] + steps[at + 1]) == every for at in (0, 2, 4))
    assert steps[:2] != steps[2:4]


def test_a_feed_goes_on_behind_any_cursor(source):
    whole = feed(source, epochs=3, items_per_step=4)
    steps = list(whole.steps({}))
    for at, step in enumerate(steps):
        assert names(whole.steps(step.cursor)) == names(steps[at + 1 :])


@pytest.mark.parametrize("size", [2, 4])
def test_ranks_share_the_items_of_every_step(source, size):
    alone = names(feed(source, epochs=2, items_per_step=4).steps({}))
    shared = [
        names(feed(source, Ranks(rank=rank, size=size), epochs=2, items_per_step=4).steps({}))
        for rank in range(size)
    ]
    for number, step in enumerate(alone):
        assert sorted(step) == sorted(name for rank in shared for name in rank[number])


def test_the_number_of_steps_can_be_said_instead_of_passes(source):
    assert [len(step) for step in names(feed(source, steps=5, items_per_step=4).steps({}))] == [4, 2, 4, 2, 4]


@pytest.mark.parametrize("limit", [40, 55, 80, 200])
def test_the_weights_used_never_exceed_the_limit(source, limit):
    limited = feed(source, epochs=50, items_per_step=4, max_trained_tokens=limit)
    steps = list(limited.steps({}))
    used = [item[0].trained_tokens for step in steps for item in step.items]
    longest = max(source.item(index)[0].trained_tokens for index in range(6))
    assert limit - longest < sum(used) <= limit
    assert len(steps) == limited.num_steps


def test_a_limit_below_the_first_item_is_refused(source):
    with pytest.raises(ConfigError, match=r"`max_trained_tokens` is 1, but the first of 6 items"):
        feed(source, max_trained_tokens=1)
