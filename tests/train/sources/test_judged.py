import msgspec
import pytest

from fakes_tokenizer import ByteTokenizer
from mainspring.errors import ChatError, UserError
from mainspring.train.sources.base import Opening
from mainspring.train.sources.judged import JudgedAnswers


def opened(path, records, **settings):
    path.write_bytes(b"\n".join(msgspec.json.encode(record) for record in records))
    opening = Opening(registry=None, tokenizer=ByteTokenizer(), model=None, max_tokens=200)
    return JudgedAnswers(dataset=str(path), **settings).open(opening)


def record(question, answer, label):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, "label": label}


def said(segment):
    return bytes(
        token for token, weight in zip(segment.ids, segment.weight, strict=True) if weight and token < 256
    )


def test_beside_every_answer_lies_its_prompt_with_the_next_answer(tmp_path):
    lines = [record("One?", "a", True), record("Two?", "b", False), record("Three?", "c", 1)]
    source = opened(tmp_path / "judged.jsonl", lines)
    assert source.num_items == 3
    for index, (answer, other, label) in enumerate([(b"a", b"b", 1.0), (b"b", b"c", 0.0), (b"c", b"a", 1.0)]):
        judged, mismatched = source.item(index)
        assert (said(judged), judged.label, judged.role) == (answer, label, "")
        assert (said(mismatched), mismatched.label, mismatched.role) == (other, None, "mismatched")
        assert judged.ids[:10] == mismatched.ids[:10]
    alone = opened(tmp_path / "judged.jsonl", lines, mismatched=False)
    assert [len(alone.item(index)) for index in range(3)] == [1, 1, 1]
    assert alone.fingerprint != source.fingerprint


def test_lines_without_a_judgement_or_an_answer_are_refused(tmp_path):
    with pytest.raises(UserError, match="line 1 has the label 'good'"):
        opened(tmp_path / "a.jsonl", [record("One?", "a", "good")])
    with pytest.raises(ChatError, match="at least 2 are needed"):
        opened(tmp_path / "b.jsonl", [record("One?", "a", True)])
    with pytest.raises(ChatError, match="answer 0 does not end with an answer"):
        opened(tmp_path / "c.jsonl", [record("One?", " ", True), record("Two?", "b", True)])
