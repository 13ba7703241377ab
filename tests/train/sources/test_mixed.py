import pytest

from fakes_shards import write_shards
from fakes_tokenizer import ByteTokenizer, conversations
from mainspring.config import build
from mainspring.errors import ConfigError
from mainspring.train.config import TrainConfig
from mainspring.train.ranks import Ranks
from mainspring.train.sources.base import hold_out
from mainspring.train.sources.chats import ChatSource
from mainspring.train.sources.mixed import MixedSource
from mainspring.train.sources.rows import Rows, RowsOfShards
from mainspring.train.sources.shards import WindowSource


def chats(count, letter):
    return ChatSource(
        conversations(*[letter * (at + 1) for at in range(count)]), ByteTokenizer(), max_tokens=99
    )


def text(item):
    return bytes(token for token in item[0].ids if token < 256).decode().split("\n")[-2]


def test_shares_hold_from_the_first_items_on_and_the_first_source_is_done_once():
    mixed = MixedSource([chats(12, "a"), chats(3, "b")], [3, 1])
    drawn = [text(mixed.item(index)) for index in range(mixed.num_items)]
    assert sorted(each for each in drawn if "a" in each) == ["a" * (at + 1) for at in range(12)]
    for number in range(1, len(drawn) + 1):
        assert abs(sum("b" in each for each in drawn[:number]) - number / 4) < 1
    with pytest.raises(ConfigError, match=r"`data.shares` is \[1\] for 2 sources"):
        MixedSource([chats(1, "a"), chats(1, "b")], [1])


def test_what_is_held_out_is_not_learnt():
    source = chats(10, "a")
    learnt, held = hold_out(source, 0.2, seed=1)
    assert (learnt.num_items, held.num_items) == (8, 2)
    every = [text(each.item(index)) for each in (learnt, held) for index in range(each.num_items)]
    assert sorted(every) == sorted(text(source.item(index)) for index in range(10))
    assert learnt.fingerprint != source.fingerprint


def test_windows_in_turn_cover_the_text_once_and_random_ones_begin_anywhere(tmp_path):
    shards = write_shards(tmp_path, [30, 50])
    turns = WindowSource(shards, length=13)
    ids = [token for index in range(turns.num_items) for token in turns.item(index)[0].ids]
    assert ids == list(range(6 * 13))
    anywhere = WindowSource(shards, length=13, num_windows=200)
    starts = {anywhere.item(index)[0].ids[0] for index in range(200)}
    assert len(starts) > 50
    assert anywhere.item(7) == anywhere.item(7)
    for index in range(200):
        (segment,) = anywhere.item(index)
        assert segment.targets == [token + 1 for token in segment.ids]
    with pytest.raises(ConfigError, match="80 ids, too few for a window of 80"):
        WindowSource(shards, length=80)


def rows(shards, size=1, rank=0, mix=None, **values):
    settings = build(Rows, {"dataset": "a", "mix": mix or {}})
    config = build(TrainConfig, {"items_per_step": 4, **values})
    return RowsOfShards({"a": shards}, 64, settings.order, settings.mix).feed(
        config, Ranks(rank=rank, size=size)
    )


def test_packed_rows_are_items_that_any_cursor_and_number_of_ranks_continue(tmp_path):
    shards = write_shards(tmp_path, [30, 50, 7, 64, 12, 40, 3, 90, 33, 21] * 3)
    feed = rows(shards)
    steps = list(feed.steps({}))
    assert len(steps) == feed.num_steps
    ids = sorted(token for step in steps for item in step.items for each in item for token in each.ids)
    assert ids == list(range(350 * 3))
    assert list(rows(shards).steps(steps[1].cursor)) == steps[2:]
    shared = [list(rows(shards, 2, rank).steps({})) for rank in (0, 1)]
    for number, step in enumerate(steps):
        assert [each[number].items for each in shared] == [step.items[0::2], step.items[1::2]]
    assert rows(shards, steps=11).num_steps == 11
    assert len(list(rows(shards, steps=11).steps({}))) == 11


def test_a_mixture_that_ends_before_the_run_is_refused(tmp_path):
    shards = write_shards(tmp_path, [30, 50, 7, 64, 12, 40, 3, 90, 33, 21] * 3)
    assert rows(shards, mix={"total": 600}).num_steps == 3
    assert len(list(rows(shards, mix={"total": 600}, steps=2).steps({}))) == 2
    with pytest.raises(
        ConfigError, match=r"`train.steps` is 4, but the 600 tokens of `data.mix.total` are 3 steps"
    ):
        rows(shards, mix={"total": 600}, steps=4)
