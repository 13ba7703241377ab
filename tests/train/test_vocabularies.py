"""Bits a byte are counted over the same bytes whatever the vocabulary."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fakes_bpe import make_tokenizer
from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.train import vocabularies
from mainspring.train.vocabularies import Pieces, VocabularyLoss, lose


@given(st.lists(st.text(max_size=60), max_size=4), st.integers(16, 40))
def test_pieces_are_the_texts_and_none_has_more_bytes(texts, size):
    found = list(vocabularies._pieces(texts, size))
    assert "".join(found) == "".join(texts)
    assert all(0 < len(piece.encode()) <= size for piece in found)


def test_a_model_that_knows_nothing_needs_the_bits_of_its_vocabulary(monkeypatch):
    """With all scores equal every id costs log2 V bits, so bits a byte are ids a byte times that."""

    def untrained(model: Model, *_: object, **__: object) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()

    monkeypatch.setattr(vocabularies, "train", untrained)
    tokenizer, text = make_tokenizer(), "the owner of the spring winds it. \u00e9\u4e2d" * 9
    found = lose(tokenizer, [text], [text], VocabularyLoss(piece_bytes=64, width=32, layers=1))
    pieces = Pieces(tokenizer, list(vocabularies._pieces([text], 64)))
    num_ids = sum(each.num_tokens - 1 for each in pieces.segments)
    expected = num_ids * math.log2(tokenizer.vocab_size) / len(text.encode())
    assert found.bits_per_byte == pytest.approx(expected, rel=1e-6)
    assert found.is_lossless


def test_no_text_is_refused():
    with pytest.raises(ConfigError, match="texts to learn from"):
        lose(make_tokenizer(), [], ["a"], VocabularyLoss())
