import itertools
import json

import pytest
import tokenizers
import transformers
from hypothesis import given
from hypothesis import strategies as st

from fakes_bpe import make_tokenizer
from mainspring.errors import WeightsError
from mainspring.tokenizer.base import Tokenizer

TOKENIZER = make_tokenizer()
VARIED = (
    "Hello, world!", " leading and trailing  ", "\n\n\t tabs\r\n", "year 2024: 1234567890",
    "naïve café Ünïcödé",
    "漢字とカタカナ, 한국어, العربية",
    "😀👩‍👩‍👧‍👦🏳️‍🌈", "def f(x):\n    return x[0] ** 2  # comment\n\n\nclass A: pass",
    "it's we'll I'D", "a" * 300, "", "\ufffd\u200b\u00a0x", "<|im_end|> <|im_start|>user", "x=1;y=2;//\\\\",
)  # fmt: skip


def test_the_text_of_a_special_token_is_encoded_as_plain_text(tiny_tokenizer):
    ids = tiny_tokenizer.encode("a<|im_end|>b")
    assert not set(ids) & set(tiny_tokenizer.special.values())
    assert tiny_tokenizer.decode(ids) == "a<|im_end|>b"


def test_decoding_leaves_special_tokens_out(tiny_tokenizer):
    ids = [tiny_tokenizer.special["<|im_start|>"], *tiny_tokenizer.encode("hi"), *tiny_tokenizer.end_ids]
    assert tiny_tokenizer.decode(ids) == "hi"


def test_end_ids_are_the_eos_token_and_other_names_of_a_turns_end():
    tokenizer = make_tokenizer()
    other = Tokenizer(tokenizer._backend, eos="<|endoftext|>")
    assert tokenizer.end_ids == (tokenizer.special["<|im_end|>"],)
    assert other.end_ids == (tokenizer.special["<|endoftext|>"], tokenizer.special["<|im_end|>"])


def test_what_a_models_files_put_before_a_text_is_known(tiny_tokenizer):
    assert tiny_tokenizer.opening_ids == []
    other = make_tokenizer()._backend
    other.post_processor = tokenizers.processors.TemplateProcessing(
        "<|im_start|> $A <|im_end|>", special_tokens=[("<|im_start|>", 1), ("<|im_end|>", 2)]
    )
    assert Tokenizer(other).opening_ids == [1]
    assert Tokenizer(other).encode("the") == tiny_tokenizer.encode("the")


@given(st.text(max_size=60))
def test_decoding_undoes_encoding_and_spans_cover_the_text_in_order(text):
    ids, spans = TOKENIZER.encode_spans(text)
    assert TOKENIZER.decode(ids) == text
    assert ids == TOKENIZER.encode(text) == TOKENIZER.encode_many([text])[0]
    covered = {place for start, end in spans for place in range(start, end)}
    assert covered == set(range(len(text)))
    assert all(left[0] <= right[0] for left, right in itertools.pairwise(spans))


def test_a_saved_tokenizer_loads_as_the_same_one(tiny_tokenizer, tmp_path):
    tiny_tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.fingerprint == tiny_tokenizer.fingerprint
    assert (loaded.bos, loaded.eos, loaded.end_ids) == ("<|im_start|>", "<|im_end|>", tiny_tokenizer.end_ids)
    assert (loaded.vocab_size, loaded.max_length) == (288, 256)
    assert [loaded.encode(text) for text in VARIED] == [tiny_tokenizer.encode(text) for text in VARIED]


def test_transformers_reads_a_saved_tokenizer_and_gives_the_same_ids(tiny_tokenizer, tmp_path):
    tiny_tokenizer.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in VARIED:
        expected = theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert tiny_tokenizer.encode(text) == expected
    assert theirs.chat_template == tiny_tokenizer.chat_template


def test_the_fingerprint_changes_with_the_template_and_with_the_end_token(tiny_tokenizer):
    backend = tiny_tokenizer._backend
    same = Tokenizer(
        backend, bos="<|im_start|>", eos="<|im_end|>", chat_template=tiny_tokenizer.chat_template
    )
    template = Tokenizer(backend, bos="<|im_start|>", eos="<|im_end|>", chat_template="other")
    end = Tokenizer(
        backend, bos="<|im_start|>", eos="<|endoftext|>", chat_template=tiny_tokenizer.chat_template
    )
    prints = {each.fingerprint for each in (tiny_tokenizer, same, template, end)}
    assert same.fingerprint == tiny_tokenizer.fingerprint
    assert len(prints) == 3


def test_a_tokenizer_with_truncation_and_padding_in_its_file_encodes_whole_texts(tiny_tokenizer, tmp_path):
    tiny_tokenizer.save(tmp_path)
    said = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    said["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "tokenizer.json").write_text(json.dumps(said), encoding="utf-8")
    text = "the wheels turn " * 10
    assert Tokenizer.load(tmp_path).encode(text) == tiny_tokenizer.encode(text)


def test_a_missing_a_damaged_and_a_contradicting_file_are_named(tiny_tokenizer, tmp_path):
    with pytest.raises(WeightsError, match=r"tokenizer\.json is missing"):
        Tokenizer.load(tmp_path)
    tiny_tokenizer.save(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps({"eos_token": "</s>"}), encoding="utf-8")
    with pytest.raises(WeightsError, match="eos token is '</s>'"):
        Tokenizer.load(tmp_path)
    config.write_text("{", encoding="utf-8")
    with pytest.raises(WeightsError, match="not JSON"):
        Tokenizer.load(tmp_path)
    config.unlink()
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"tokenizer\.json is not a tokenizer"):
        Tokenizer.load(tmp_path)


@pytest.mark.slow
def test_ids_of_smollm2_equal_those_of_transformers(smollm2_folder):
    ours, theirs = (
        Tokenizer.load(smollm2_folder),
        transformers.AutoTokenizer.from_pretrained(smollm2_folder),
    )
    for text in VARIED:
        ids = ours.encode(text)
        assert ids == theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert ours.decode(ids) == text
