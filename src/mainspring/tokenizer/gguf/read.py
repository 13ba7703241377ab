"""The tokenizer that a GGUF file carries in its metadata, as the published one that it was made of."""

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, processors

from mainspring.errors import WeightsError
from mainspring.tokenizer.base import Tokenizer
from mainspring.tokenizer.gguf import byte_level, sentence_piece, unigram, word_piece
from mainspring.tokenizer.gguf.base import Built, Kind
from mainspring.tokenizer.gguf.vocabulary import CONTROL, UNKNOWN, USER_DEFINED, Vocabulary

KINDS: Mapping[str, Kind] = {
    "gpt2": byte_level,
    "llama": sentence_piece,
    "bert": word_piece,
    "t5": unigram,
}
FIRST, LAST = ("bos", "cls"), ("eos", "seperator")  # codespell:ignore seperator - the format writes it so


def from_gguf(fields: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer that the metadata describe.

    Args:
        fields: the file's metadata, name -> value.

    Raises:
        WeightsError: another kind of tokenizer, an unknown pre-tokenizer, or a field that is missing.

    """
    named = str(fields.get("tokenizer.ggml.model"))
    if named not in KINDS:
        raise WeightsError(f"The GGUF file's tokenizer is of kind '{named}'; read are {', '.join(KINDS)}.")
    vocabulary, kind = Vocabulary.read(fields), KINDS[named]
    built = _built(kind, vocabulary)
    special = vocabulary.of_type(CONTROL)
    usual = [name if name in special else "" for name in built.usual]
    first, last = vocabulary.named(*FIRST) or usual[0], vocabulary.named(*LAST) or usual[1]
    _mark(built, vocabulary, (first, last))
    _put_between(built, vocabulary, first, last)
    template = fields.get("tokenizer.chat_template", "")
    return Tokenizer(
        built.backend,
        bos=first,
        eos=last,
        chat_template=template if isinstance(template, str) else "",
        max_length=fields.get(f"{fields.get('general.architecture')}.context_length"),
    )


def _built(kind: Kind, vocabulary: Vocabulary) -> Built:
    try:
        return kind.build(vocabulary)
    except WeightsError:
        raise
    except Exception as error:  # the Rust side raises nothing narrower
        raise WeightsError(f"The GGUF file's tokenizer cannot be built: {error}.") from error


def _mark(built: Built, vocabulary: Vocabulary, ends: tuple[str, str]) -> None:
    """Tell the special tokens, and those that a user defined, which stay plain text."""
    rows = list(zip(vocabulary.tokens, built.tokens, vocabulary.types, strict=True))
    special = [
        token for stored, token, kind in rows if kind in (CONTROL, UNKNOWN) or (stored in ends and stored)
    ]
    plain = [token for _, token, kind in rows if kind == USER_DEFINED and token not in ends]
    built.backend.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in special])
    built.backend.add_tokens([AddedToken(each, special=False, normalized=False) for each in plain])


def _put_between(built: Built, vocabulary: Vocabulary, first: str, last: str) -> None:
    """What others who read tokenizer.json put before and behind a text; nothing here does so by itself."""
    begins = vocabulary.get("add_bos_token", built.begins)
    ends = vocabulary.get("add_eos_token", vocabulary.get("add_sep_token", built.ends))
    before, behind = first if begins else "", last if ends else ""
    tokens = [token for token in dict.fromkeys((before, behind)) if token]
    texts = [[token for token in (before, text, behind) if token] for text in ("$A", "$B")]
    if tokens:
        built.backend.post_processor = processors.TemplateProcessing(
            single=texts[0],
            pair=texts[0] + texts[1],
            special_tokens=[(token, vocabulary.tokens.index(token)) for token in tokens],
        )
