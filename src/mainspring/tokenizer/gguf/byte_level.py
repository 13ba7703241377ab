r"""Byte-level BPE (kind `gpt2`); the file names how text is split before bytes are merged.

The patterns are those of the published tokenizer.json of the models that each name stands for.
"""

from dataclasses import dataclass

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from mainspring.errors import WeightsError
from mainspring.tokenizer.gguf.base import Built
from mainspring.tokenizer.gguf.vocabulary import Vocabulary, needed

SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"  # 's, 'll: the short forms of English
MARKS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATHS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+", rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*")
LLAMA3 = rf"{SHORT}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{MARKS}"
QWEN2 = rf"{SHORT}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{MARKS}"
TEKKEN = rf"{CASED[0]}|{CASED[1]}|\p{{N}}|{PATHS}"
GPT4O = rf"{CASED[0]}{SHORT}?|{CASED[1]}{SHORT}?|\p{{N}}{{1,3}}|{PATHS}"
CHINESE_JAPANESE = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
ASCII_MARK = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"
DEEPSEEK = (
    rf"{ASCII_MARK}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How text becomes words: each pattern cuts its matches out of what the one before has left whole.

    Without patterns text is cut as GPT-2 does. `composes` joins letters with their accents first (NFC);
    `whole_words` takes a word that is a token as it is, whatever the merges say; `begins` and `ends` as in Built.
    """

    patterns: tuple[str, ...] = ()
    digits: bool = False
    composes: bool = False
    whole_words: bool = False
    begins: bool = False
    ends: bool = False


SPLITS = {
    "gpt-2": Split(),
    "smollm": Split(digits=True),
    "llama-bpe": Split(patterns=(LLAMA3,), whole_words=True, begins=True),
    "llama3": Split(patterns=(LLAMA3,), whole_words=True, begins=True),
    "llama-v3": Split(patterns=(LLAMA3,), whole_words=True, begins=True),
    "dbrx": Split(patterns=(LLAMA3,)),
    "qwen2": Split(patterns=(QWEN2,), composes=True),
    "tekken": Split(patterns=(TEKKEN,), whole_words=True, begins=True),
    "gpt-4o": Split(patterns=(GPT4O,)),
    "deepseek-v3": Split(patterns=(r"\p{N}{1,3}", CHINESE_JAPANESE, DEEPSEEK)),
    "roberta-bpe": Split(begins=True, ends=True),
    "modern-bert": Split(composes=True, begins=True, ends=True),
    "mpt": Split(composes=True),
    "olmo": Split(composes=True),
}


def build(vocabulary: Vocabulary) -> Built:
    split = _split(vocabulary)
    vocab = {token: token_id for token_id, token in enumerate(vocabulary.tokens)}
    merges = [_pair(merge) for merge in needed(vocabulary.fields, "merges")]
    options = {"ignore_merges": True} if split.whole_words else {}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges, **options))
    backend.pre_tokenizer = _pre_tokenizer(split)
    backend.decoder = decoders.ByteLevel()
    if split.composes:
        backend.normalizer = normalizers.NFC()
    return Built(backend=backend, tokens=vocabulary.tokens, begins=split.begins, ends=split.ends)


def _split(vocabulary: Vocabulary) -> Split:
    named = vocabulary.get("pre")
    if named not in SPLITS:
        raise WeightsError(
            f"The GGUF file's pre-tokenizer is '{named}'; known ones are {', '.join(SPLITS)}. "
            "Take the model in safetensors with its tokenizer.json instead."
        )
    return SPLITS[named]


def _pre_tokenizer(split: Split) -> pre_tokenizers.PreTokenizer:
    by_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split.patterns)
    before: list[pre_tokenizers.PreTokenizer] = [
        pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in split.patterns
    ]
    if split.digits:
        before.append(pre_tokenizers.Digits(individual_digits=True))
    return pre_tokenizers.Sequence([*before, by_bytes]) if before else by_bytes


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right
