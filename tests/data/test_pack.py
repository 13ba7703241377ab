import random
import sys

from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.pack import best_fit, cut


def naive(lengths, max_tokens):
    """Best-fit decreasing as its definition reads: look at every row for every segment."""
    rows, room = [], []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        fitting = [row for row, left in enumerate(room) if left >= lengths[index]]
        if not fitting:
            fitting = [len(rows)]
            rows.append([])
            room.append(max_tokens)
        row = min(fitting, key=lambda row: room[row])
        rows[row].append(index)
        room[row] -= lengths[index]
    return [sorted(row) for row in rows]


@given(st.lists(st.integers(0, 40), max_size=80))
def test_rows_are_those_of_the_definition(lengths):
    assert best_fit(lengths, 40) == naive(lengths, 40)


@given(st.lists(st.integers(1, 5000), max_size=60), st.integers(5000, 9000))
def test_rows_are_those_of_the_definition_over_many_blocks_of_room(lengths, max_tokens):
    assert best_fit(lengths, max_tokens) == naive(lengths, max_tokens)


@given(st.lists(st.integers(1, 300), max_size=60))
def test_no_segment_is_lost_and_no_row_too_long(lengths):
    rows = best_fit(lengths, 300)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= 300 for row in rows)


@given(st.integers(1, 10_000), st.integers(1, 500))
def test_pieces_cover_a_segment_once_and_all_but_the_last_are_full(length, max_tokens):
    pieces = cut(length, max_tokens)
    assert [at for start, size in pieces for at in range(start, start + size)] == list(range(length))
    assert all(size == max_tokens for _, size in pieces[:-1])


def lines_run(work, *arguments):
    """How many lines of Python a call runs: a measure of its time that no other process disturbs."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work(*arguments)
    finally:
        sys.settrace(before)
    return count


def test_the_work_grows_with_the_segments_and_not_with_their_square():
    chance = random.Random(0)
    lengths = [chance.randint(1, 2048) for _ in range(4000)]
    few, many = (lines_run(best_fit, lengths[:count], 2048) / count for count in (250, 4000))
    assert many < 1.5 * few
    few, many = (lines_run(naive, lengths[:count], 2048) / count for count in (100, 400))
    assert many > 3 * few
