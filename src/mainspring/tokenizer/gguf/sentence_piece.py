"""BPE of SentencePiece (kind `llama`): pieces with scores, spaces as a letter, bytes for what no piece covers.

SentencePiece joins the neighbours whose joined piece has the highest score, until none has one. A list of
merges says the same: every way to cut a piece in two, the pieces in the order of their scores.
"""

import tokenizers
from tokenizers import decoders, models, normalizers

from mainspring.errors import WeightsError
from mainspring.tokenizer.gguf.base import Built
from mainspring.tokenizer.gguf.vocabulary import BYTE, NORMAL, SPACE, Vocabulary


def build(vocabulary: Vocabulary) -> Built:
    vocab = {token: token_id for token_id, token in enumerate(vocabulary.tokens)}
    model = models.BPE(
        vocab=vocab,
        merges=_merges(vocabulary),
        unk_token=vocabulary.unknown or None,
        fuse_unk=True,
        byte_fallback=bool(vocabulary.of_type(BYTE)),
    )
    backend = tokenizers.Tokenizer(model)
    spaces = normalizers.Replace(" ", SPACE)
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if vocabulary.get("add_space_prefix", True):
        backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces])
        steps.append(decoders.Strip(" ", 1, 0))
    else:
        backend.normalizer = spaces
    backend.decoder = decoders.Sequence(steps)
    return Built(backend=backend, tokens=vocabulary.tokens, begins=True, ends=False)


def _merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    rows = zip(vocabulary.tokens, vocabulary.types, vocabulary.scores, strict=True)
    scores = {token: score for token, kind, score in rows if kind == NORMAL}
    longer = sorted((token for token in scores if len(token) > 1), key=lambda token: -scores[token])
    if len(longer) > 1 and scores[longer[0]] == scores[longer[-1]]:
        raise WeightsError(
            f"The GGUF file gives all pieces of its tokenizer the score {scores[longer[0]]}, so the order in which "
            "they were merged is lost. Take the model in safetensors with its tokenizer.json instead."
        )
    return [
        (token[:cut], token[cut:])
        for token in longer
        for cut in range(len(token) - 1, 0, -1)
        if token[:cut] in scores and token[cut:] in scores
    ]
