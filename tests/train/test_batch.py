import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainspring.errors import ContextLengthError
from mainspring.train.batch import NO_TARGET, Segment, best_fit, pack

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def segment(length, first=0):
    ids = list(range(first, first + length))
    return Segment(ids=ids, weight=[index % 2 for index in range(length)], name=f"s{first}")


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
    batches = pack([(each,) for each in segments], 64)
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
    (batch,) = pack([(segment(4), segment(3)), (segment(2),)], 20)
    assert batch.counts() == {"tokens": 2.0 + 1.0 + 1.0, "ids": 9.0, "segments": 3.0, "groups": 2.0}


def test_a_segment_longer_than_a_batch_is_refused_by_name():
    with pytest.raises(ContextLengthError, match="s500 has 9 tokens, more than a batch of 8"):
        pack([(segment(3),), (segment(9, first=500),)], 8)


def test_the_segments_of_an_item_stay_together_where_they_are_compared():
    items = [
        (segment(5), segment(6, first=10)),
        (segment(7, first=20),),
        (segment(2, first=30), segment(8, first=40)),
    ]
    batches = pack(items, 12, couples=True)
    for batch in batches:
        for place in batch.segments:
            mates = [other for other in batch.segments if other.group == place.group]
            assert len(mates) == len(items[place.group])
    assert sum(batch.counts()["groups"] for batch in batches) == 3
    with pytest.raises(ContextLengthError, match="s0 and s10 has 11 tokens, more than a batch of 10"):
        pack(items, 10, couples=True)


def test_targets_of_a_segment_stand_at_their_own_tokens():
    tagged = Segment(
        ids=[5, 6, 7], targets=[-100, 2, 0], weight=[0, 1, 1], name="tagged", extras={"score": [1, 2, 3]}
    )
    plain = Segment(ids=[8, 9], weight=[1, 1], name="plain", extras={"score": [4, 5]}, source=[1, 2, 3])
    (batch,) = pack([(tagged,), (plain,)], 10)
    starts = {place.name: place.start for place in batch.segments}
    at = [starts["tagged"] + 1, starts["tagged"] + 2, starts["plain"]]
    assert batch.target[at].tolist() == [2, 0, 9]
    assert batch.weight.tolist().count(1.0) == 3
    assert batch.extras["score"][at].tolist() == [2, 3, 5]
    assert sorted(batch.source_lengths) == [0, 3]
    assert tagged.trained_tokens == 2
