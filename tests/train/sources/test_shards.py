import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes_llama import tiny_llama
from fakes_shards import write_shards
from fakes_tokenizer import ByteTokenizer, conversations
from mainspring.config import build
from mainspring.data.shard_writer import ShardWriter
from mainspring.data.shards import Shards
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.sft import Sft
from mainspring.train.sources.chats import ChatSource
from mainspring.train.sources.shards import ShardSource


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=30), st.integers(1, 40))
def test_segments_are_the_documents_cut_where_they_are_too_long(tmp_path_factory, lengths, max_tokens):
    shards = write_shards(tmp_path_factory.mktemp("s"), lengths, weighted=True)
    source = ShardSource(shards, max_tokens=max_tokens)
    segments = [source.item(index)[0] for index in range(source.num_items)]
    assert [token for each in segments for token in each.ids] == list(range(sum(lengths)))
    for each in segments:
        assert 0 < each.num_tokens <= max_tokens
        assert list(each.weight) == [int(token % 3 > 0) for token in each.ids]
    for number, length in enumerate(lengths):
        pieces = [each for each in segments if each.name.split(" ")[0] == f"doc-{number}"]
        assert len(pieces) == -(-length // max_tokens)


def test_a_later_piece_says_where_it_begins(tmp_path):
    source = ShardSource(write_shards(tmp_path, [5, 2500], max_tokens=3000), max_tokens=1200)
    assert [source.item(index)[0].name for index in range(4)] == [
        "doc-0", "doc-1", "doc-1 from id 1,200", "doc-1 from id 2,400",
    ]  # fmt: skip


def test_the_fingerprint_follows_the_shards_and_the_cut(tmp_path):
    one, other = write_shards(tmp_path / "1", [50]), write_shards(tmp_path / "2", [51])
    prints = [ShardSource(one, max_tokens=9), ShardSource(one, max_tokens=9), ShardSource(one, max_tokens=8)]
    assert prints[0].fingerprint == prints[1].fingerprint != prints[2].fingerprint
    assert ShardSource(other, max_tokens=9).fingerprint != prints[0].fingerprint


@pytest.fixture
def chats():
    return ChatSource(conversations("red", "green is it", "blue", "no"), ByteTokenizer(), max_tokens=256)


def test_the_trainer_learns_from_shards_what_it_learns_from_conversations(tmp_path, chats):
    with ShardWriter(tmp_path / "s", "train", tokenizer="bytes", vocab_size=258, id_type="uint16") as writer:
        for index in range(chats.num_items):
            segment = chats.item(index)[0]
            writer.add(segment.ids, segment.weight, segment.name)
    source = ShardSource(Shards(tmp_path / "s"), max_tokens=256)
    values = {"items_per_step": 2, "epochs": 2, "plan": {"threads": 1, "micro_batch_tokens": 256}}
    config = build(TrainConfig, values)
    models = [tiny_llama(), tiny_llama()]
    results = [
        train(model, each, Sft(), config, tmp_path / str(number))
        for number, (model, each) in enumerate(zip(models, (chats, source), strict=True))
    ]
    assert results[0].loss == results[1].loss
    for (name, left), right in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert torch.equal(left, right), name
