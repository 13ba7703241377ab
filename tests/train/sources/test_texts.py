import msgspec
import pytest

from fakes_workspace import word_tokenizer
from mainspring.errors import UserError
from mainspring.train.batch import NO_TARGET
from mainspring.train.sources.base import Opening
from mainspring.train.sources.texts import Labelled, Ranked, Tagged, Triples


@pytest.fixture
def tokenizer():
    return word_tokenizer()


@pytest.fixture
def opened(tokenizer, tmp_path):
    def opened(kind, *records, max_tokens=10, **values):
        path = tmp_path / "data.jsonl"
        path.write_bytes(b"\n".join(msgspec.json.encode(record) for record in records))
        opening = Opening(registry=None, tokenizer=tokenizer, model=None, max_tokens=max_tokens)
        return kind(dataset=str(path), **values).open(opening)

    return opened


def test_a_text_stands_between_the_special_tokens_and_is_cut_to_what_fits(opened, tokenizer):
    source = opened(Labelled, {"text": "the tower was built", "label": 3}, max_tokens=5)
    (segment,) = source.item(0)
    assert segment.label == 3.0
    assert list(segment.ids) == [1, *tokenizer.encode("the tower was"), 2]
    with pytest.raises(UserError, match=r"line 1 has 'x' under 'label'; it must be a number"):
        opened(Labelled, {"text": "the", "label": "x"})
    with pytest.raises(UserError, match="line 2 has no text under 'text'"):
        opened(Labelled, {"text": "the", "label": 1}, {"text": " ", "label": 1})


def test_the_tokens_of_a_span_have_its_label(opened):
    record = {"text": "the old tower was built", "entities": [{"start": 4, "end": 13, "label": "THING"}]}
    (segment,) = opened(Tagged, record, labels=("O", "THING")).item(0)
    assert segment.targets == [NO_TARGET, 0, 1, 1, 0, 0, NO_TARGET]
    assert segment.weight == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
    with pytest.raises(UserError, match=r"line 1 has the label 'THING'; `data.labels` are O, PLACE"):
        opened(Tagged, record, labels=("O", "PLACE"))


def test_a_query_its_positive_and_its_negatives_are_one_item(opened):
    item = opened(
        Triples, {"query": "the tower", "positive": "was built", "negatives": ["lamp", "its"]}
    ).item(0)
    assert [each.role for each in item] == ["query", "positive", "negative", "negative"]


def test_query_and_passage_are_one_text(opened, tokenizer):
    record = {"query": "the tower", "passages": ["was built", "its lamp turns every"], "labels": [1, 0]}
    item = opened(Ranked, record, max_tokens=8).item(0)
    assert [each.label for each in item] == [1.0, 0.0]
    query = [1, *tokenizer.encode("the tower"), 2]
    assert list(item[1].ids) == [*query, *tokenizer.encode("its lamp turns"), 2]
    with pytest.raises(UserError, match="line 1 has 1 passages and 2 labels"):
        opened(Ranked, {"query": "the", "passages": ["was"], "labels": [1, 0]})
