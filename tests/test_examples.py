"""The example questions are what they say: a quote that moved in its document fails here."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from mainspring.data.parse.base import MAX_BYTES
from mainspring.data.sources import Source, packages
from mainspring.evaluate.gold import Gold, read_gold
from mainspring.evaluate.metrics import words

ITEMS = read_gold(Path(__file__).parents[1] / "examples" / "questions.jsonl")
ANSWERABLE = [item for item in ITEMS if item.is_answerable]
# Words that join an answer's content; they need not stand in the quote.
JOINING = frozenset(
    {"of", "to", "in", "on", "at", "by", "for", "from", "with", "and", "or", "is", "are", "it"}
)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """The stored text of every document that the demo indexes."""
    return {
        source.name: source.parse(source.read(MAX_BYTES), MAX_BYTES).text
        for source in packages()
        if isinstance(source, Source)
    }


def test_there_are_as_many_questions_as_the_demo_needs():
    counts = Counter((item.split, item.is_answerable) for item in ITEMS)
    assert counts[("train", True)] == 60
    assert counts[("heldout", True)] >= 40
    assert counts[("train", False)] + counts[("heldout", False)] == 20


def test_every_quote_stands_in_its_document(texts: dict[str, str]):
    moved = [item.id for item in ANSWERABLE if (item.quote or "?") not in texts.get(item.document or "", "")]
    assert moved == []


def test_no_document_serves_both_splits():
    splits: dict[str, set[str]] = defaultdict(set)
    for item in ANSWERABLE:
        splits[item.document or ""].add(item.split)
    assert [name for name, found in splits.items() if len(found) > 1] == []


def test_every_content_word_of_an_answer_stands_in_its_quote():
    unsupported = {item.id: missing for item in ANSWERABLE if (missing := _missing(item))}
    assert unsupported == {}


def test_unanswerable_questions_name_no_document_and_no_quote():
    assert [
        i.id for i in ITEMS if not i.is_answerable and (i.document is not None or i.quote is not None)
    ] == []


def test_no_question_is_asked_twice():
    assert [text for text, count in Counter(item.question for item in ITEMS).items() if count > 1] == []


def _missing(item: Gold) -> set[str]:
    return set(words(item.answer or "")) - set(words(item.quote or "")) - JOINING
