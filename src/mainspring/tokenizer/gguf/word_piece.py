"""WordPiece (kind `bert`): the longest piece first, from the left; GGUF marks beginnings where BERT marks the rest."""

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from mainspring.errors import WeightsError
from mainspring.tokenizer.gguf.base import Built
from mainspring.tokenizer.gguf.vocabulary import CONTROL, SPACE, UNKNOWN, Vocabulary

REST = "##"


def build(vocabulary: Vocabulary) -> Built:
    unknown = vocabulary.unknown
    if not unknown:
        raise WeightsError("The GGUF file names no unknown token, which its tokenizer needs.")
    tokens = _as_published(vocabulary)
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token=unknown, max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(lowercase=_lowers(vocabulary))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix=REST)
    return Built(backend=backend, tokens=tokens, begins=True, ends=True, usual=("[CLS]", "[SEP]"))


def _as_published(vocabulary: Vocabulary) -> list[str]:
    """The tokens as vocab.txt has them: `_word` was `word`, `s` was `##s`."""
    rows = zip(vocabulary.tokens, vocabulary.types, strict=True)
    return [token if kind in (CONTROL, UNKNOWN) else _published(token) for token, kind in rows]


def _published(token: str) -> str:
    return token.removeprefix(SPACE) if token.startswith(SPACE) else REST + token


def _lowers(vocabulary: Vocabulary) -> bool:
    """Whether text is lowered first; without a word on it, a vocabulary with capitals says no."""
    said = vocabulary.get("normalizer.lowercase")
    if said is not None:
        return bool(said)
    rows = zip(vocabulary.tokens, vocabulary.types, strict=True)
    pieces = (token for token, kind in rows if kind not in (CONTROL, UNKNOWN) and "[" not in token)
    return all(piece == piece.lower() for piece in pieces)
