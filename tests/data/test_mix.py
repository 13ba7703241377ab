from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes_shards import write_shards
from mainspring.config import build
from mainspring.data.curriculum import Shuffled
from mainspring.data.mix import ONE, MixConfig, Mixture
from mainspring.errors import ConfigError

pytestmark = pytest.mark.slow

LENGTHS = {"a": [3, 9, 4, 4, 7], "b": [20, 30], "c": [1] * 8}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    return {name: write_shards(folder / name, lengths) for name, lengths in LENGTHS.items()}


def mixture(parts, **config):
    orders = {name: Shuffled(each.num_segments, 1) for name, each in parts.items()}
    return Mixture(parts, orders, build(MixConfig, config))


def prefixes(mixed, count):
    """Picks one by one."""
    drawn = mixed.start()
    for _ in range(count):
        picks, drawn = mixed.take(drawn, 1)
        yield picks[0]


WEIGHTS = st.lists(st.integers(1, 100), min_size=3, max_size=3)


@settings(max_examples=40, deadline=None)
@given(WEIGHTS)
def test_after_every_segment_no_set_is_far_from_its_share_of_segments(parts, weights):
    mixed = mixture(parts, weights=dict(zip(parts, weights, strict=True)), unit="segments", passes=0)
    counts = [0, 0, 0]
    for number, pick in enumerate(prefixes(mixed, 300), start=1):
        counts[pick.part] += 1
        for count, weight in zip(counts, weights, strict=True):
            assert -2 < count - Fraction(number * weight, sum(weights)) < 1 + 1e-6


@settings(max_examples=40, deadline=None)
@given(WEIGHTS)
def test_after_every_segment_no_set_is_more_than_its_longest_one_ahead_of_its_share_of_tokens(parts, weights):
    mixed = mixture(parts, weights=dict(zip(parts, weights, strict=True)), unit="tokens", passes=0)
    tokens = [0, 0, 0]
    longest = [max(lengths) for lengths in LENGTHS.values()]
    for pick in prefixes(mixed, 300):
        tokens[pick.part] += pick.length
        for part, weight in enumerate(weights):
            ahead = tokens[part] - Fraction(sum(tokens) * weight, sum(weights))
            assert -sum(longest) < ahead < longest[part] + 1e-3


def test_two_sets_of_segments_alternate_as_their_weights_say(parts):
    two = {name: parts[name] for name in ("a", "c")}
    mixed = mixture(two, weights={"a": 1, "c": 3}, unit="segments", passes=0)
    found = [pick.part for pick in prefixes(mixed, 400)]
    assert all(found[at : at + 4].count(0) == 1 for at in range(0, 400, 4))


def test_a_schedule_is_followed_to_the_segment(parts):
    total = 2000
    points = {"a": [[0, 1], [0.5, 1], [1, 0]], "b": 1, "c": [[0.5, 0], [1, 1]]}
    mixed = mixture(parts, weights=points, unit="segments", total=total)
    counts, due = [0, 0, 0], [0.0, 0.0, 0.0]
    for number, pick in enumerate(prefixes(mixed, total)):
        progress = number / total
        late = max(0.0, 2 * (progress - 0.5))
        weights = (1 - late, 1.0, late)
        due = [each + weight / sum(weights) for each, weight in zip(due, weights, strict=True)]
        counts[pick.part] += 1
        assert all(abs(count - each) < 2 for count, each in zip(counts, due, strict=True))
    assert counts[2] == pytest.approx(total / 8, abs=2)
    assert mixed.take(mixed.start(), 10**6)[1].amount == total


def test_a_set_of_weight_0_is_not_drawn(parts):
    mixed = mixture(parts, weights={"a": 1, "b": 0, "c": 2}, passes=0)
    assert {pick.part for pick in prefixes(mixed, 200)} == {0, 2}


def test_one_set_is_gone_through_as_often_as_asked_and_no_segment_more(parts):
    mixed = mixture({"a": parts["a"]}, passes=3)
    picks, drawn = mixed.take(mixed.start(), 10**9)
    assert sorted(pick.index for pick in picks) == sorted([*range(5)] * 3)
    assert mixed.take(drawn, 10**9)[0] == []
    assert mixed.passes(drawn) == {"a": 3.0} == mixed.forecast()


def test_without_weights_one_pass_takes_of_every_set_what_it_has(parts):
    mixed = mixture(parts)
    picks, drawn = mixed.take(mixed.start(), 10**9)
    for part, (name, lengths) in enumerate(LENGTHS.items()):
        drawn_tokens = sum(pick.length for pick in picks if pick.part == part)
        assert abs(drawn_tokens - sum(lengths)) <= 30, name
    assert mixed.forecast() == {name: pytest.approx(1) for name in parts}
    assert sum(drawn.credit) == 0


def test_repeats_are_foretold_and_told(parts):
    mixed = mixture(parts, weights={"a": 1, "b": 1, "c": 2}, unit="segments", total=400)
    drawn = mixed.take(mixed.start(), 10**9)[1]
    expected = {"a": 100 / 5, "b": 100 / 2, "c": 200 / 8}
    assert mixed.forecast() == {name: pytest.approx(each, rel=1e-6) for name, each in expected.items()}
    assert mixed.passes(drawn) == {name: pytest.approx(each, abs=0.5) for name, each in expected.items()}


@given(st.integers(0, 10**6))
def test_shares_add_up_exactly_at_any_time(parts, amount):
    mixed = mixture(parts, weights={"a": [[0, 1], [1, 0]], "b": 0.3, "c": [[0.2, 0], [0.9, 7]]}, total=10**6)
    assert sum(mixed.shares(amount)) == ONE
    assert min(mixed.shares(amount)) >= 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=8))
def test_how_many_are_drawn_at_once_changes_nothing(parts, amounts):
    mixed = mixture(parts, weights={"a": 1, "b": 5, "c": 2}, passes=0)
    picks, drawn = [], mixed.start()
    for amount in amounts:
        more, drawn = mixed.take(drawn, amount)
        picks += more
    other = mixture(parts, weights={"a": 1, "b": 5, "c": 2}, passes=0)
    assert picks == list(prefixes(other, len(picks)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"weights": {"a": 1, "b": 1}}, "no weight for c"),
        ({"weights": {"a": 1, "b": 1, "c": 1, "d": 1}}, "unknown d"),
        ({"weights": {"a": 1, "b": -1, "c": 1}}, "finite and not negative"),
        ({"weights": {"a": 0, "b": 0, "c": 0}}, "All of `mix.weights` are 0 at progress 0"),
        ({"weights": {"a": [[0, 1], [1, 0]], "b": 0, "c": 0}}, "are 0 at progress 1"),
        ({"weights": {"a": [[0.5, 1], [0.5, 0]], "b": 1, "c": 1}}, "progress must rise from 0 to 1"),
        ({"weights": {"a": [[0, 1], [2, 0]], "b": 1, "c": 1}}, "progress must rise from 0 to 1"),
        ({"weights": {"a": [[0, 1], [1, 0]], "b": 1, "c": 1}, "passes": 0}, "without an end"),
    ],
)
def test_weights_that_mean_nothing_are_refused(parts, config, message):
    with pytest.raises(ConfigError, match=message):
        mixture(parts, **config)
