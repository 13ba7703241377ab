import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import ContextLengthError
from mainspring.train.batch import NO_TARGET, Segment, best_fit, pack

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def segment(length, first=0, group=0):
    ids = list(range(first, first + length))
    return Segment(ids=ids, weight=[index % 2 for index in range(length)], name=f"s{first}", group=group)


@given(LENGTHS)
def test_every_segment_lies_in_exactly_one_row_and_no_row_is_too_long(lengths):
    rows = best_fit(lengths, 40)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= 40 for row in rows)


@given(LENGTHS)
def test_at_most_one_row_is_half_empty(lengths):
    rows = best_fit(lengths, 40)
    assert sum(sum(lengths[index] for index in row) * 2 <= 40 for row in rows) <= 1


@given(LENGTHS)
def test_targets_and_weights_are_the_next_tokens_within_the_segment(lengths):
    segments = [segment(length, first=100 * index) for index, length in enumerate(lengths)]
    batches = pack(segments, 64)
    for batch in batches:
        assert (
            sum(batch.lengths) == len(batch.ids) == len(batch.pos) == len(batch.target) == len(batch.weight)
        )
        for place in batch.segments:
            here = slice(place.start, place.start + place.length)
            packed = segments[place.index]
            assert batch.ids[here].tolist() == packed.ids
            assert batch.pos[here].tolist() == list(range(place.length))
            assert batch.target[here].tolist() == [*packed.ids[1:], NO_TARGET]
            assert batch.weight[here].tolist() == [*packed.weight[1:], 0.0]
    trained = sum(batch.counts()["tokens"] for batch in batches)
    assert trained == sum(each.trained_tokens for each in segments)


def test_counts_name_tokens_segments_and_groups():
    (batch,) = pack([segment(4, group=1), segment(3, group=1), segment(2, group=2)], 20)
    assert batch.counts() == {"tokens": 2.0 + 1.0 + 1.0, "segments": 3.0, "groups": 2.0}


def test_a_segment_longer_than_a_batch_is_refused_by_name():
    with pytest.raises(ContextLengthError, match="s500 has 9 tokens, more than a batch of 8"):
        pack([segment(3), segment(9, first=500)], 8)
