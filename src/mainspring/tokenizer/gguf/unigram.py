"""Unigram of SentencePiece (kind `t5`): of all ways to cut a text into pieces the likeliest."""

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from mainspring.errors import WeightsError
from mainspring.tokenizer.gguf.base import Built
from mainspring.tokenizer.gguf.vocabulary import NORMAL, SPACE, UNUSED, Vocabulary


def build(vocabulary: Vocabulary) -> Built:
    pieces = _pieces(vocabulary)
    unknown = vocabulary.unknown
    if not unknown:
        raise WeightsError("The GGUF file names no unknown token, which its tokenizer needs.")
    backend = tokenizers.Tokenizer(
        models.Unigram(pieces, unk_id=vocabulary.tokens.index(unknown), byte_fallback=False)
    )
    charsmap = vocabulary.get("precompiled_charsmap")
    if charsmap:
        backend.normalizer = normalizers.Precompiled(bytes(each & 255 for each in charsmap))
    scheme = "always" if vocabulary.get("add_space_prefix", True) else "never"
    words = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme)
    if vocabulary.get("remove_extra_whitespaces", True):
        backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    else:
        backend.pre_tokenizer = words
    backend.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme=scheme)
    return Built(backend=backend, tokens=vocabulary.tokens, begins=False, ends=True)


def _pieces(vocabulary: Vocabulary) -> list[tuple[str, float]]:
    """Pieces and scores, without the fillers behind the last real one.

    What is no piece of text has the score 0, as published tokenizers give it: a lower one would move the
    score of unknown text, which lies below the lowest.
    """
    rows = list(zip(vocabulary.tokens, vocabulary.types, vocabulary.scores, strict=True))
    while rows and rows[-1][1] == UNUSED:
        rows.pop()
    least = min((score for _, kind, score in rows if kind == NORMAL), default=0.0)
    other = {UNUSED: least}
    return [(token, score if kind == NORMAL else other.get(kind, 0.0)) for token, kind, score in rows]
