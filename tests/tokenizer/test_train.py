"""Trained tokenizers beside the reference library that reads their files."""

import pytest
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes_texts import many_texts
from mainspring import chat
from mainspring.config import build
from mainspring.errors import ConfigError, DocumentError, TemplateError
from mainspring.schema import Message
from mainspring.tokenizer.base import Tokenizer
from mainspring.tokenizer.train import TokenizerSettings, train

pytestmark = pytest.mark.slow

TEXTS = many_texts(400, seed=1)
KINDS = ("bpe", "wordpiece", "unigram")


def made(kind, **more):
    return train(TEXTS, build(TokenizerSettings, {"kind": kind, "vocab_size": 700, **more}))


@pytest.fixture(scope="module", params=KINDS)
def trained(request):
    return made(request.param)


def test_the_vocabulary_has_the_asked_size_and_the_special_tokens_first(trained):
    assert trained.vocab_size == 700
    assert sorted(trained.special.values()) == list(range(len(trained.special)))


def equal_to_reference(ours, path, texts):
    """Ids, offsets and decoded text of the library itself, reading the saved file."""
    theirs = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
    theirs.encode_special_tokens = True
    for text, expected in zip(texts, theirs.encode_batch(texts, add_special_tokens=False), strict=True):
        ids, spans = ours.encode_spans(text)
        assert ids == expected.ids
        assert spans == expected.offsets
        assert ours.decode(ids) == theirs.decode(expected.ids)
    assert ours.encode_many(texts) == [ours.encode(text) for text in texts]


@pytest.mark.slow
def test_encoding_decoding_and_offsets_equal_the_reference_on_10_000_documents(trained, tmp_path):
    trained.save(tmp_path)
    equal_to_reference(Tokenizer.load(tmp_path), tmp_path, many_texts(10_000, seed=7))


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=80), kind=st.sampled_from(KINDS))
def test_any_text_is_encoded_as_the_reference_does(saved_tokenizers, text, kind):
    tokenizer, folder = saved_tokenizers[kind]
    equal_to_reference(tokenizer, folder, [text])
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    expected = theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert tokenizer.encode(text) == expected


@settings(deadline=None, max_examples=200)
@given(raw=st.binary(max_size=60))
def test_broken_utf8_that_was_decoded_with_marks_goes_through_bytes_unharmed(saved_tokenizers, raw):
    text = raw.decode("utf-8", "replace")
    for kind in ("bpe", "unigram"):
        tokenizer, _ = saved_tokenizers[kind]
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.fixture(scope="module")
def saved_tokenizers(tmp_path_factory):
    found = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        made(kind).save(folder)
        found[kind] = Tokenizer.load(folder), folder
    return found


def test_a_chat_is_rendered_with_the_trained_special_tokens():
    tokenizer = made("bpe")
    rendered = chat.render([Message("user", "Hi"), Message("assistant", "Yes <|im_end|>")], tokenizer)
    assert rendered.ids.count(tokenizer.special["<|im_end|>"]) == 2
    assert rendered.weight[-2:] == [1, 0]
    assert made("bpe", special_tokens=["<s>"], eos="<s>").chat_template == ""
    assert made("wordpiece").chat_template == ""


def test_training_twice_gives_the_same_tokenizer():
    assert made("bpe").fingerprint == made("bpe").fingerprint


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"vocab_size": 90_000}, ConfigError, r"support only [\d,]+ .* set -o vocab_size=\d+"),
        ({"eos": "</s>"}, ConfigError, "`eos` is '</s>', which is no special token"),
        ({"chat_template": "{% for"}, TemplateError, "syntax error"),
    ],
)
def test_what_cannot_be_trained_is_told(values, error, message):
    with pytest.raises(error, match=message):
        made("bpe", **values)


def test_no_text_is_told():
    with pytest.raises(DocumentError, match="no text"):
        train([], TokenizerSettings(vocab_size=300))


def test_digits_stand_alone_and_case_folds_where_asked():
    tokenizer = made("bpe", lowercase=True)
    assert tokenizer.encode("THE River") == tokenizer.encode("the river")
    assert len(made("bpe").encode("12345")) == 5
