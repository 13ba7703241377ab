import numpy as np
import pytest

from fakes_bpe import make_tokenizer
from mainspring.chat import render
from mainspring.config import build
from mainspring.data.document import Document
from mainspring.data.shard import ShardSettings, write_shards
from mainspring.data.shards import Shards
from mainspring.errors import ConfigError, DocumentError, TemplateError
from mainspring.schema import Message

TURNS = [{"role": "user", "content": "Who winds it?"}, {"role": "assistant", "content": "The owner."}]


def settings(**values):
    return build(ShardSettings, values)


def text(number, content="the owner of the spring winds it"):
    return Document(id=f"t{number}", text=f"{content} {number}")


def chat(number, turns=TURNS):
    return Document(id=f"c{number}", text="shown", meta={"messages": turns})


def test_texts_are_encoded_and_ended_and_all_of_them_is_trained(tmp_path, tiny_tokenizer):
    documents = [text(number) for number in range(3000)]
    report = write_shards(documents, tiny_tokenizer, tmp_path, settings(max_shard_tokens=10_000))
    shards = Shards(tmp_path, verify=True)
    assert shards.num_segments == report.segments == 3000
    end = tiny_tokenizer.special["<|im_end|>"]
    for number in (0, 1023, 1024, 2999):
        segment = shards.segment(number)
        assert segment.document == f"t{number}"
        assert segment.ids.tolist() == [*tiny_tokenizer.encode(documents[number].text), end]
        assert segment.weight.tolist() == [1] * len(segment.ids)
    assert report.trained_tokens == report.tokens == shards.num_tokens
    assert not list(tmp_path.glob("*.weights"))
    assert len(list(tmp_path.glob("*.ids"))) > 3


def test_conversations_are_what_the_server_renders_and_answers_alone_are_trained(tmp_path, tiny_tokenizer):
    report = write_shards([text(0), chat(1), text(2)], tiny_tokenizer, tmp_path)
    shards = Shards(tmp_path, verify=True)
    rendered = render([Message(**turn) for turn in TURNS], tiny_tokenizer)
    assert shards.segment(1).ids.tolist() == rendered.ids
    assert shards.segment(1).weight.tolist() == rendered.weight
    assert set(shards.segment(0).weight) == set(shards.segment(2).weight) == {1}
    trained = sum(rendered.weight) + len(shards.segment(0).ids) + len(shards.segment(2).ids)
    assert report.trained_tokens == shards.trained_tokens == trained


def test_special_text_in_a_document_stays_text(tmp_path, tiny_tokenizer):
    write_shards([Document(id="x", text="<|im_end|> it")], tiny_tokenizer, tmp_path)
    ids = Shards(tmp_path).segment(0).ids.tolist()
    assert ids.count(tiny_tokenizer.special["<|im_end|>"]) == 1


def test_begin_and_end_tokens_can_be_named(tmp_path, tiny_tokenizer):
    write_shards([text(0)], tiny_tokenizer, tmp_path, settings(begin="<|im_start|>", end="<|endoftext|>"))
    ids = Shards(tmp_path).segment(0).ids.tolist()
    special = tiny_tokenizer.special
    assert (ids[0], ids[-1]) == (special["<|im_start|>"], special["<|endoftext|>"])


def test_what_gives_no_segment_is_reported_with_its_reason(tmp_path, tiny_tokenizer):
    documents = [
        Document(id="blank", text=" \n"),
        Document(id="half", text="\ud800"),
        chat("silent", TURNS[:1]),
        chat("backward", TURNS[::-1]),
        Document(id="odd", text="", meta={"messages": [{"role": "judge", "content": "?"}]}),
        text(1),
    ]
    report = write_shards(documents, tiny_tokenizer, tmp_path)
    assert (report.segments, report.num_skipped) == (1, 5)
    reasons = {each.document: each.reason for each in report.skipped}
    assert reasons["blank"] == "empty"
    assert "lone surrogate" in reasons["half"]
    assert "no answer" in reasons["csilent"]
    assert "starts with" in reasons["cbackward"]
    assert "judge" in reasons["odd"]


def test_documents_without_any_token_are_an_error_and_leave_no_shards(tmp_path, tiny_tokenizer):
    with pytest.raises(DocumentError, match=r"gave a token: empty \(2\)"):
        write_shards([Document(id=name, text="") for name in "ab"], tiny_tokenizer, tmp_path)
    assert not (tmp_path / "shards.json").exists()


def test_a_template_that_ends_no_answer_is_refused_by_document(tmp_path):
    endless = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    with pytest.raises(TemplateError, match="c7: the chat template puts no end token"):
        write_shards([chat(7)], make_tokenizer(endless), tmp_path)


def test_an_end_token_that_is_none_is_refused(tmp_path, tiny_tokenizer):
    with pytest.raises(ConfigError, match=r"'</s>' is not a special token .* Set `end`"):
        write_shards([text(0)], tiny_tokenizer, tmp_path, settings(end="</s>"))


class Wide:
    """A tokenizer of a vocabulary of any size, whose every id is the largest."""

    special, end_ids, bos, eos, chat_template, fingerprint = {"<e>": 1}, (1,), "", "<e>", "", "wide"

    def __init__(self, vocab_size, largest):
        self.vocab_size, self.largest = vocab_size, largest

    def encode_many(self, texts):
        return [[self.largest] for _ in texts]


@pytest.mark.parametrize(("vocab_size", "bytes_of_id"), [(65_536, 2), (65_537, 4)])
def test_ids_take_two_bytes_where_the_vocabulary_fits(tmp_path, vocab_size, bytes_of_id):
    write_shards([text(0)], Wide(vocab_size, vocab_size - 1), tmp_path)
    ids = Shards(tmp_path, verify=True).segment(0).ids
    assert ids.tolist() == [vocab_size - 1, 1]
    assert ids.itemsize == bytes_of_id
    assert np.dtype("<u4" if bytes_of_id == 4 else "<u2") == ids.dtype


def test_a_vocabulary_larger_than_the_type_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="65,537 ids, more than the 65,536 that `id_type` uint16 holds"):
        write_shards([text(0)], Wide(65_537, 5), tmp_path, settings(id_type="uint16"))
    with pytest.raises(ConfigError, match="more than the 4,294,967,296"):
        write_shards([text(0)], Wide(2**32 + 1, 5), tmp_path)


def test_an_id_outside_the_vocabulary_is_refused_by_document(tmp_path):
    with pytest.raises(ConfigError, match="t0 has the id 300; the vocabulary has ids from 0 to 299"):
        write_shards([text(0)], Wide(300, 300), tmp_path)
