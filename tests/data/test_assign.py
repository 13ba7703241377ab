"""Splits: told from the document alone, in their shares, and never tearing apart what belongs together."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.config import build
from mainspring.data.assign import Assign, Place, SplitSettings
from mainspring.errors import ConfigError


def assign(**settings):
    return Assign(build(SplitSettings, settings))


@given(st.integers(0, 9), st.text(max_size=5), st.lists(st.text(), min_size=2, max_size=5))
def test_a_group_is_never_torn_apart(seed, group, ids):
    split = assign(fractions={"a": 0.4, "b": 0.4, "c": 0.2}, seed=seed)
    found = {split(Place(id=name, group=group)) for name in ids}
    assert len(found) == 1 or not group


def test_documents_fall_in_their_shares_and_stay_when_a_share_is_divided():
    names = [f"document-{number}" for number in range(10_000)]
    two = assign(fractions={"train": 0.8, "test": 0.2})
    three = assign(fractions={"train": 0.8, "validation": 0.1, "test": 0.1})
    found = Counter(two(Place(id=name)) for name in names)
    assert abs(found["test"] - 2000) < 4 * (10_000 * 0.2 * 0.8) ** 0.5  # four standard deviations
    assert all((two(Place(id=name)) == "train") == (three(Place(id=name)) == "train") for name in names)


def test_another_seed_gives_an_independent_split():
    one, other = assign(fractions={"a": 0.5, "b": 0.5}), assign(fractions={"a": 0.5, "b": 0.5}, seed=1)
    same = sum(one(Place(id=str(n))) == other(Place(id=str(n))) for n in range(4000))
    assert abs(same - 2000) < 4 * (4000 * 0.25) ** 0.5


def test_each_for_itself_passes_over_the_group():
    split = assign(by="document", fractions={"a": 0.5, "b": 0.5})
    assert {split(Place(id=str(number), group="one")) for number in range(50)} == {"a", "b"}


@pytest.mark.parametrize(
    ("time", "wanted"),
    [
        ("2023-12-31T23:59:59Z", "train"),
        ("2024-01-01", "validation"),
        ("2024-05", "validation"),
        ("2024-06-30", "test"),
        ("", "train"),
    ],
)
def test_by_time_nothing_earlier_is_in_a_later_split(time, wanted):
    split = assign(by="time", until={"train": "2024-01-01", "validation": "2024-06-01"})
    assert split(Place(id="x", time=time)) == wanted
    assert split.settings.names() == ["train", "validation", "test"]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"fractions": {"train": 0.5, "test": 0.4}}, "add up to 1"),
        ({"fractions": {"train": 1.5, "test": -0.5}}, "are positive"),
        ({"fractions": {}}, "add up to 1"),
        ({"fractions": {"../train": 1.0}}, "no name of a split"),
        ({"by": "time"}, "needs `until`"),
        ({"by": "time", "until": {"a": "2024-01-02", "b": "2024-01-01"}}, "ascend"),
        ({"by": "weekday"}, "'group', 'document' or 'time'"),
    ],
)
def test_a_split_that_cannot_be_is_refused(settings, wanted):
    with pytest.raises(ConfigError, match=wanted):
        assign(**settings)
