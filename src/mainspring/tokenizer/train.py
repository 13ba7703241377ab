"""A tokenizer from texts: byte-level BPE, WordPiece or Unigram, with special tokens and a chat template.

The algorithms are those of the tokenizers library: BPE (arXiv:1508.07909) over bytes as GPT-2 has it,
WordPiece as BERT has it, Unigram (arXiv:1804.10959).
"""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import tokenizers
from pydantic import Field
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from mainspring import chat
from mainspring.config import Config
from mainspring.errors import ConfigError, DocumentError
from mainspring.schema import Message
from mainspring.tokenizer.base import Tokenizer

Kind = Literal["bpe", "wordpiece", "unigram"]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
    "+ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHAT_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class TokenizerSettings(Config):
    """How a tokenizer is trained."""

    kind: Kind = Field(default="bpe", description="bpe (byte-level), wordpiece or unigram")
    vocab_size: int = Field(default=8192, ge=300, description="ids in all, special ones among them")
    min_frequency: int = Field(default=2, ge=1, description="a pair or word seen less often is not learnt")
    special_tokens: tuple[str, ...] | None = Field(
        default=None, description="their own ids, first of all; by default ChatML's, for wordpiece BERT's"
    )
    eos: str | None = Field(
        default=None, description="what ends a text; by default the last turn's end or [SEP]"
    )
    bos: str | None = Field(default=None, description="what begins a text; by default nothing, or [CLS]")
    chat_template: str | None = Field(
        default=None, description="Jinja text; by default ChatML where its tokens are there; '' for none"
    )
    split_digits: bool = Field(default=True, description="every digit is a token of its own")
    lowercase: bool = Field(default=False, description="texts are lower-cased and lose their accents first")


def train(texts: Iterable[str], settings: TokenizerSettings) -> Tokenizer:
    """Learn a vocabulary from texts.

    Raises:
        DocumentError: no text at all.
        ConfigError: a vocabulary larger than the texts support, an eos token that is not special.
        TemplateError: a chat template that does not work.

    """
    special = _special(settings)
    backend = _backend(settings)
    seen = _Seen(texts)
    backend.train_from_iterator(iter(seen), _trainer(settings, special))
    if not seen.num_bytes:
        raise DocumentError("There is no text to train a tokenizer on; give documents that hold some.")
    found = backend.get_vocab_size(with_added_tokens=True)
    if found < settings.vocab_size:
        raise ConfigError(
            f"`vocab_size` is {settings.vocab_size:,}, but {seen.num_bytes:,} bytes of text support only {found:,} "
            f"(with min_frequency {settings.min_frequency}). Give more text, or set -o vocab_size={found}."
        )
    bos, eos, template = _roles(settings, special)
    tokenizer = Tokenizer(backend, bos=bos, eos=eos, chat_template=template)
    if template:
        chat.render([Message("user", "Hello"), Message("assistant", "Hi")], tokenizer)
    return tokenizer


class _Seen:
    """Passes texts on and counts their bytes."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts, self.num_bytes = texts, 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.num_bytes += len(text.encode("utf-8", "replace"))
            yield text


def _special(settings: TokenizerSettings) -> tuple[str, ...]:
    if settings.special_tokens is not None:
        return settings.special_tokens
    return BERT_TOKENS if settings.kind == "wordpiece" else CHAT_TOKENS


def _roles(settings: TokenizerSettings, special: tuple[str, ...]) -> tuple[str, str, str]:
    """What begins and ends a text, and the chat template."""
    defaults = ("[CLS]", "[SEP]") if settings.kind == "wordpiece" else ("", "<|im_end|>")
    bos, eos = (
        default if given is None and default in special else (given or "")
        for given, default in zip((settings.bos, settings.eos), defaults, strict=True)
    )
    for role, text in (("bos", bos), ("eos", eos)):
        if text and text not in special:
            raise ConfigError(
                f"`{role}` is '{text}', which is no special token; there are {', '.join(special) or 'none'}. "
                f"Add it to special_tokens, or set -o {role}=''."
            )
    has_chat = {"<|im_start|>", "<|im_end|>"} <= set(special)
    template = settings.chat_template
    return bos, eos, (CHATML if has_chat else "") if template is None else template


def _backend(settings: TokenizerSettings) -> tokenizers.Tokenizer:
    if settings.kind == "wordpiece":
        backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 - no password
        backend.normalizer = normalizers.BertNormalizer(lowercase=settings.lowercase)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece()
        return backend
    backend = tokenizers.Tokenizer(models.BPE() if settings.kind == "bpe" else models.Unigram())
    if settings.lowercase:
        backend.normalizer = normalizers.Sequence(
            [normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()]
        )
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = [pre_tokenizers.Digits(individual_digits=True)] if settings.split_digits else []
    backend.pre_tokenizer = pre_tokenizers.Sequence([*digits, words])
    backend.decoder = decoders.ByteLevel()
    return backend


def _trainer(settings: TokenizerSettings, special: tuple[str, ...]) -> Any:
    shared = {"vocab_size": settings.vocab_size, "special_tokens": list(special), "show_progress": False}
    if settings.kind == "wordpiece":
        return trainers.WordPieceTrainer(min_frequency=settings.min_frequency, **shared)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if settings.kind == "bpe":
        return trainers.BpeTrainer(min_frequency=settings.min_frequency, initial_alphabet=alphabet, **shared)
    return trainers.UnigramTrainer(initial_alphabet=alphabet, **shared)
