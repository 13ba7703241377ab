import json
import unicodedata
from itertools import pairwise

import pytest
import regex
import tokenizers
import transformers
from hypothesis import given, settings
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers.convert_slow_tokenizer import TikTokenConverter, bytes_to_unicode

from fakes_fragments import CORPUS, TEXTS
from fakes_gguf import metadata_of
from mainspring.tokenizer.gguf.byte_level import SPLITS
from mainspring.tokenizer.gguf.read import from_gguf

pytestmark = pytest.mark.slow

SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = TikTokenConverter.__init__.__defaults__[1]
QWEN2 = transformers.models.qwen2.tokenization_qwen2.PRETOKENIZE_REGEX
WORD = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+SHORT|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*SHORT|"
)
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
    r"""|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
# name -> the patterns that its models publish one after the other, NFC before, a word that is a token stays one
PUBLISHED = {
    "gpt-2": ((GPT2,), False, False),
    "smollm": ((r"\p{N}", GPT2), False, False),
    "llama-bpe": ((LLAMA3,), False, True),
    "dbrx": ((LLAMA3,), False, False),
    "qwen2": ((QWEN2,), True, False),
    "tekken": ((WORD.replace("SHORT", "") + r"\p{N}" + REST,), False, True),
    "gpt-4o": ((WORD.replace("SHORT", f"{SHORT}?") + r"\p{N}{1,3}" + REST,), False, False),
    "deepseek-v3": ((r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK), False, False),
    "modern-bert": ((GPT2,), True, False),
    "mpt": ((GPT2,), True, False),
}
ALIASES = {"llama3": "llama-bpe", "llama-v3": "llama-bpe", "olmo": "mpt", "roberta-bpe": "gpt-2"}


@pytest.fixture(scope="module")
def original():
    """Byte-level BPE whose merges cross words, digits and lines, so that every cut shows in the ids."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=2,
    )
    backend.train_from_iterator([CORPUS, "winds it winds 12 123 1234 ll ve  \n\n x//x"] * 2, trainer)
    return backend


@pytest.fixture(scope="module")
def read(original, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf")
    return {
        name: from_gguf(
            metadata_of(original, folder / f"{name}.gguf", pre=name, bos_token_id=0, eos_token_id=1)
        )
        for name in (*PUBLISHED, *ALIASES)
    }


def cut(text, patterns):
    """The words of a text: matches of each pattern stand alone in what was left by the one before."""
    pieces = [text]
    for pattern in patterns:
        pieces = [part for piece in pieces for part in regex.split(f"({pattern})", piece) if part]
    return pieces


def plain_ids(text, patterns, vocab, ranks, composes, whole_words):
    """Byte-level BPE by its definition: of all neighbours the pair of the lowest rank is joined, the first first."""
    letters = bytes_to_unicode()
    ids = []
    for word in cut(unicodedata.normalize("NFC", text) if composes else text, patterns):
        symbols = [letters[byte] for byte in word.encode()]
        if whole_words and "".join(symbols) in vocab:
            symbols = ["".join(symbols)]
        while pairs := [pair for pair in pairwise(symbols) if pair in ranks]:
            best = min(pairs, key=ranks.__getitem__)
            at = next(i for i in range(len(symbols)) if tuple(symbols[i : i + 2]) == best)
            symbols[at : at + 2] = ["".join(best)]
        ids += [vocab[symbol] for symbol in symbols]
    return ids


@pytest.mark.parametrize("name", PUBLISHED)
@settings(max_examples=50)
@given(text=TEXTS)
def test_ids_are_those_of_the_published_patterns_and_merges(original, read, name, text):
    patterns, composes, whole_words = PUBLISHED[name]
    merges = tokenizer_merges(original)
    expected = plain_ids(text, patterns, original.get_vocab(), merges, composes, whole_words)
    assert read[name].encode(text) == expected
    assert read[name].decode(expected) == (unicodedata.normalize("NFC", text) if composes else text)


def tokenizer_merges(original):
    return {tuple(pair): rank for rank, pair in enumerate(json.loads(original.to_str())["model"]["merges"])}


def test_every_name_that_is_read_was_tested(read):
    assert set(SPLITS) == {*PUBLISHED, *ALIASES}
    for alias, name in ALIASES.items():
        assert read[alias].encode(CORPUS) == read[name].encode(CORPUS)
        assert SPLITS[alias].patterns == SPLITS[name].patterns


@pytest.fixture(scope="module")
def published(original):
    kinds = {
        "gpt-2": transformers.GPT2Tokenizer,
        "qwen2": transformers.Qwen2Tokenizer,
        "roberta-bpe": transformers.RobertaTokenizer,
    }
    said = {"vocab": original.get_vocab(), "merges": [tuple(pair) for pair in tokenizer_merges(original)]}
    ends = {"unk_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    return {name: kind(**said, **ends) for name, kind in kinds.items()}


@pytest.mark.parametrize("name", ["gpt-2", "qwen2", "roberta-bpe"])
@settings(max_examples=50)
@given(text=TEXTS.filter(lambda text: "<s>" not in text))
def test_ids_are_those_of_transformers_own_class(read, published, name, text):
    assert read[name].encode(text) == published[name].encode(text, add_special_tokens=False)


@pytest.mark.parametrize(
    ("name", "flags", "expected"),
    [
        ("gpt-2", {}, ([], [])),
        ("gpt-2", {"add_bos_token": True}, ([0], [])),
        ("llama-bpe", {}, ([0], [])),
        ("llama-bpe", {"add_bos_token": False}, ([], [])),
        ("roberta-bpe", {}, ([0], [1])),
        ("modern-bert", {"add_bos_token": True, "add_eos_token": True, "add_sep_token": True}, ([0], [1])),
    ],
)
def test_others_that_read_the_tokenizer_put_a_text_between_what_the_file_says(
    original, tmp_path, name, flags, expected
):
    said = metadata_of(original, tmp_path / "a.gguf", pre=name, bos_token_id=0, eos_token_id=1, **flags)
    made = from_gguf(said)
    made.save(tmp_path / "made")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "made")
    assert theirs("a word")["input_ids"] == expected[0] + made.encode("a word") + expected[1]
