"""datatrove's filters as an oracle: what they say of a text, with words and sentences split as told."""

from types import SimpleNamespace

import pytest

from mainspring.data.rules.split import num_sentences, split_words


def use_our_words(monkeypatch):
    """Let datatrove count words and sentences as we do, so that its rules alone are compared."""
    pytest.importorskip("datatrove", reason="datatrove (extra bench) is the oracle and is not installed")
    from datatrove.utils import text, word_tokenizers

    ours = SimpleNamespace(
        word_tokenize=split_words, span_tokenize=lambda line: [(0, len(line))] * num_sentences(line)
    )
    monkeypatch.setattr(word_tokenizers, "load_word_tokenizer", lambda _: ours)
    text.split_into_parts.cache_clear()


def verdict(theirs, text):
    """(reason or "", the text as it left it) of a filter of datatrove."""
    from datatrove.data import Document

    document = Document(text=text, id="0")
    said = theirs.filter(document)
    return ("" if said is True else said[1]), document.text


@pytest.fixture
def datatrove(monkeypatch):
    use_our_words(monkeypatch)
    from datatrove.pipeline import filters
    from datatrove.utils import text

    yield filters
    text.split_into_parts.cache_clear()
