import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.infer.speculate import NGram, Pace


def test_it_guesses_what_followed_the_last_time_and_the_longer_ending_wins():
    assert NGram().propose([1, 2, 3, 7, 8, 9, 2, 3, 5, 5, 1, 2, 3], 3) == [7, 8, 9]  # not 5, 5, 1 of the pair
    assert NGram().propose([2, 3, 1, 2, 3, 4, 2, 3], 2) == [4, 2]
    assert NGram().propose([1, 2, 3, 4], 4) == []
    assert NGram().propose([5], 4) == []


def test_a_guess_that_reaches_the_end_repeats():
    assert NGram().propose([1, 2, 3, 1, 2, 3], 5) == [1, 2, 3, 1, 2]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_a_proposer_that_saw_a_sequence_grow_guesses_as_one_that_sees_it_first(ids):
    growing = NGram()
    for length in range(1, len(ids) + 1):
        grown = growing.propose(ids[:length], 4)
        assert grown == NGram().propose(ids[:length], 4)
        assert len(grown) in (0, 4)


def run(rate, steps=2_000, cost=0.1):
    """Ids a step-time of a sequence whose guesses hold with a probability, and the part of steps with drafts."""
    pace, rng, time, ids, drafted = Pace(), random.Random(0), 0.0, 0, 0
    for _ in range(steps):
        length = pace.limit(cost)
        accepted = next((n for n in range(length) if rng.random() >= rate), length)
        if length:
            pace.note(length, accepted)
        time += 1 + cost * length
        ids += 1 + accepted
        drafted += length > 0
    return ids / time, drafted / steps


@pytest.mark.parametrize("cost", [0.05, 0.2, 0.6])
def test_guesses_that_never_hold_are_given_up_and_cost_next_to_nothing(cost):
    speed, drafted = run(0.0, cost=cost)
    assert speed > 0.95
    assert drafted < 0.05


def test_guesses_that_hold_get_long_and_pay():
    assert run(0.95)[0] > 3
    assert run(0.6)[0] > 1.5


def test_a_pace_that_gave_up_finds_out_when_guesses_hold_again():
    pace = Pace()
    for _ in range(40):
        pace.note(2, 0)
    limits = []
    for _ in range(400):
        limits.append(pace.limit())
        if limits[-1]:
            pace.note(limits[-1], limits[-1])
    assert limits[:5] == [0] * 5
    assert limits[-1] == Pace.MAX


def test_a_patient_pace_tries_ever_more_rarely_and_none_tries_what_cannot_pay():
    pace, tries = Pace(patience=2), []
    for step in range(1000):
        if length := pace.limit(0.3):
            pace.note(length, 0)
            tries.append(step)
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert gaps[-4:] == [64, 128, 256, 512]
    assert [Pace().limit(1.2) for _ in range(200)] == [0] * 200
