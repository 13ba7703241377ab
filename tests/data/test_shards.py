import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes_shards import write_shards
from mainspring.data.shard_files import read_manifest
from mainspring.data.shard_writer import ShardWriter
from mainspring.data.shards import MAX_OPEN, Shards
from mainspring.errors import ChecksumError, ConfigError, NotFoundError, UserError


@settings(max_examples=30)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=40), st.integers(1, 150), st.booleans())
def test_what_was_written_is_read(tmp_path_factory, lengths, max_tokens, weighted):
    shards = write_shards(
        tmp_path_factory.mktemp("s"), lengths, max_tokens=max_tokens, weighted=weighted, scores=("loss",)
    )
    first = 0
    for number, length in enumerate(lengths):
        segment = shards.segment(number)
        ids = np.arange(first, first + length)
        assert segment.ids.tolist() == ids.tolist()
        assert segment.weight.tolist() == ((ids % 3 > 0).tolist() if weighted else [1] * length)
        assert segment.document == f"doc-{number}"
        first += length
    assert shards.num_tokens == sum(lengths)
    assert shards.lengths(np.arange(len(lengths))[::-1]).tolist() == lengths[::-1]
    assert shards.scores("length").tolist() == lengths
    assert shards.scores("loss").tolist() == [-number for number in range(len(lengths))]
    bounded = [each.num_tokens for each in read_manifest(shards.folder).splits["train"].shards]
    assert all(size <= max(max_tokens, *lengths) for size in bounded)


def test_a_segment_is_a_view_of_the_file_that_cannot_be_written(tmp_path):
    shards = write_shards(tmp_path, [50, 40], weighted=True)
    first, again = shards.segment(1), shards.segment(1)
    assert np.shares_memory(first.ids, again.ids)
    assert np.shares_memory(first.weight, again.weight)
    with pytest.raises(ValueError, match="read-only"):
        first.ids[0] = 1


def test_more_shards_than_may_be_open_are_read(tmp_path):
    lengths = [3] * (MAX_OPEN + 50)
    shards = write_shards(tmp_path, lengths, max_tokens=3)
    assert [int(shards.segment(n).ids[0]) for n in range(len(lengths))] == [
        3 * n for n in range(len(lengths))
    ]
    assert shards.scores("length").sum() == shards.num_tokens


def test_splits_stand_beside_each_other(tmp_path):
    write_shards(tmp_path, [5, 6])
    test = write_shards(tmp_path, [7], split="test", first=11)
    assert (test.num_segments, Shards(tmp_path).num_segments) == (1, 2)
    with pytest.raises(NotFoundError, match="no split 'valid'; there is train, test"):
        Shards(tmp_path, "valid")


def test_a_split_is_written_once_and_beside_its_like(tmp_path):
    write_shards(tmp_path, [5])
    with pytest.raises(UserError, match="holds the split 'train' already"):
        write_shards(tmp_path, [5])
    with pytest.raises(ConfigError, match="whose tokenizer is 'counts up'; this one's is 'other'"):
        write_shards(tmp_path, [5], split="test", tokenizer="other")


def test_a_document_is_found_by_its_whole_name(tmp_path):
    shards = write_shards(tmp_path, [5] * 30, max_tokens=12)
    assert shards.find("doc-2") == [2]
    assert shards.find("doc-29") == [29]
    with pytest.raises(NotFoundError, match="comes from 'oc-2'"):
        shards.find("oc-2")


def test_an_index_behind_the_end_is_refused_with_the_number_there_is(tmp_path):
    shards = write_shards(tmp_path, [5, 5])
    for index in (2, -1):
        with pytest.raises(NotFoundError, match="there are 2, counted from 0"):
            shards.segment(index)


@pytest.mark.parametrize("what", ["ids", "weights", "index"])
def test_a_file_that_is_cut_off_or_missing_is_found_at_once(tmp_path, what):
    write_shards(tmp_path, [30, 20], weighted=True)
    path = tmp_path / f"train-00000.{what}"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ChecksumError, match=rf"{what} has [\d,]+ bytes, expected"):
        Shards(tmp_path)
    path.unlink()
    with pytest.raises(ChecksumError, match="is missing"):
        Shards(tmp_path)


@pytest.mark.parametrize("what", ["ids", "weights", "index"])
def test_a_changed_byte_is_found_where_sums_are_compared(tmp_path, what):
    write_shards(tmp_path, [30, 20], weighted=True)
    path = tmp_path / f"train-00000.{what}"
    data = bytearray(path.read_bytes())
    data[7] ^= 1
    path.write_bytes(data)
    Shards(tmp_path)
    with pytest.raises(ChecksumError, match="not the file written"):
        Shards(tmp_path, verify=True)


def test_a_folder_whose_writing_was_cut_short_holds_no_shards(tmp_path):
    with pytest.raises(ConfigError, match="doc-1 has no token ids"):
        write_shards(tmp_path, [5, 0])
    with pytest.raises(NotFoundError, match="or their writing was cut short"):
        Shards(tmp_path)


def test_a_damaged_manifest_is_told_from_a_missing_one(tmp_path):
    write_shards(tmp_path, [5])
    (tmp_path / "shards.json").write_text('{"tokenizer": 1}')
    with pytest.raises(ChecksumError, match=r"shards.json is damaged"):
        Shards(tmp_path)


@pytest.mark.parametrize(
    "change", [("num_tokens", 50, 51), ("num_segments", 2, 30), ("id_type", "uint32", "uint16")]
)
def test_a_manifest_whose_counts_contradict_its_files_is_refused(tmp_path, change):
    write_shards(tmp_path, [30, 20], weighted=True)
    name, old, new = change
    text = (tmp_path / "shards.json").read_text()
    (tmp_path / "shards.json").write_text(
        text.replace(f'"{name}": {json.dumps(old)}', f'"{name}": {json.dumps(new)}')
    )
    with pytest.raises(ChecksumError, match=r"shards.json is damaged: \d+ segments of \d+ ids are not what"):
        Shards(tmp_path)


def test_shards_of_another_tokenizer_or_too_wide_a_vocabulary_are_refused(tmp_path):
    shards = write_shards(tmp_path, [5])
    shards.check_tokenizer("counts up", "the model")
    shards.check_vocab(2**20, "the model")
    with pytest.raises(ConfigError, match="made by the tokenizer counts up; the model has counts down"):
        shards.check_tokenizer("counts down", "the model")
    with pytest.raises(ConfigError, match="1,048,576 ids; the model knows 49,152"):
        shards.check_vocab(49_152, "the model")


def test_the_fingerprint_follows_the_content(tmp_path):
    prints = [
        write_shards(tmp_path / name, lengths, first=first).fingerprint
        for name, lengths, first in (("a", [5, 6], 0), ("b", [5, 6], 0), ("c", [6, 5], 0), ("d", [5, 6], 1))
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


@pytest.mark.parametrize(
    ("weight", "message"), [([1], "5 ids and 1 weights"), ([1, 1, 1, 1, 256], "outside 0")]
)
def test_weights_that_do_not_fit_are_refused(tmp_path, weight, message):
    writer = ShardWriter(tmp_path, "train", tokenizer="t", vocab_size=9, id_type="uint16")
    with pytest.raises(ConfigError, match=message):
        writer.add([1, 2, 3, 4, 5], weight, "d")


def test_another_number_of_scores_than_is_kept_is_refused(tmp_path):
    writer = ShardWriter(tmp_path, "train", tokenizer="t", vocab_size=9, id_type="uint16", scores=("loss",))
    with pytest.raises(ConfigError, match="d comes with 0 scores; the shards keep loss"):
        writer.add([1, 2], None, "d")
