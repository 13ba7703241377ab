import msgspec
import pytest

from fakes_tokenizer import ByteTokenizer
from mainspring.errors import ChatError, ContextLengthError, NotFoundError, UserError
from mainspring.schema import Message
from mainspring.train.sources.base import Opening
from mainspring.train.sources.pairs import Pairs, PairSource


def sides(*answers):
    return tuple([Message("user", "Hi"), Message("assistant", answer)] for answer in answers)


def opening(**values):
    return Opening(registry=None, tokenizer=ByteTokenizer(), model=None, **{"max_tokens": 200, **values})


def write(path, *records):
    path.write_bytes(b"\n".join(msgspec.json.encode(record) for record in records))
    return path


def test_only_the_last_answers_of_both_sides_are_trained():
    first = [Message("user", "Hi"), Message("assistant", "Ho")]
    good, bad = ([*first, Message("user", "And?"), Message("assistant", answer)] for answer in ("yes", "no"))
    source = PairSource([(good, bad)], ByteTokenizer(), max_tokens=200)
    chosen, rejected = source.item(0)
    assert [chosen.role, rejected.role] == ["chosen", "rejected"]
    for segment, answer in ((chosen, b"yes"), (rejected, b"no")):
        trained = [token for token, weight in zip(segment.ids, segment.weight, strict=True) if weight]
        assert trained == [*answer, 257]


def test_a_file_may_share_the_prompt_or_hold_whole_conversations(tmp_path):
    shared = {"messages": [{"role": "user", "content": "Hi"}], "chosen": "yes", "rejected": "no"}
    conversations = dict(zip(("chosen", "rejected"), msgspec.to_builtins(sides("yes", "no")), strict=True))
    source = Pairs(dataset=str(write(tmp_path / "pairs.jsonl", shared, conversations))).open(opening())
    assert [each.ids for each in source.item(0)] == [each.ids for each in source.item(1)]


def test_pairs_that_teach_nothing_are_refused_by_number():
    with pytest.raises(ChatError, match="pair 1: the chosen and the rejected answer are the same"):
        PairSource([sides("a", "b"), sides("a", "a")], ByteTokenizer(), max_tokens=200)
    with pytest.raises(ChatError, match="pair 0, rejected does not end with an answer"):
        PairSource([(sides("a")[0], sides("b")[0][:1])], ByteTokenizer(), max_tokens=200)
    with pytest.raises(ContextLengthError, match=r"pair 0, chosen has \d+ tokens; at most 9 fit"):
        PairSource([sides("a", "b")], ByteTokenizer(), max_tokens=9)


def test_files_that_cannot_be_read_say_where(tmp_path):
    with pytest.raises(NotFoundError, match=r"no file .*none.jsonl"):
        Pairs(dataset=str(tmp_path / "none.jsonl")).open(opening())
    (tmp_path / "bad.jsonl").write_text('{"chosen": "a", "rejected": "b"}\n{"chosen": \n')
    with pytest.raises(UserError, match=r"Line 2 of .*bad.jsonl is no JSON object"):
        Pairs(dataset=str(tmp_path / "bad.jsonl")).open(opening())
    with pytest.raises(UserError, match="line 1 has no conversation under 'rejected'"):
        Pairs(dataset=str(write(tmp_path / "half.jsonl", {"chosen": "a"}))).open(opening())


def test_a_file_may_say_how_good_the_sides_are(tmp_path):
    record = {"messages": [{"role": "user", "content": "Hi"}], "chosen": "yes", "rejected": "no"}
    good = write(tmp_path / "good.jsonl", {**record, "chosen_reward": 2, "rejected_reward": -0.5})
    item = Pairs(dataset=str(good)).open(opening()).item(0)
    assert [each.reward for each in item] == [2, -0.5]
    bad = write(tmp_path / "bad.jsonl", {**record, "chosen_reward": "fine"})
    with pytest.raises(UserError, match="line 1 has the rewards"):
        Pairs(dataset=str(bad)).open(opening())
