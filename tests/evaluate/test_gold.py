from pathlib import Path

import pytest

from mainspring.errors import DocumentError
from mainspring.evaluate.gold import Gold, read_gold

GOOD = (
    '{"id": "a", "question": "Who?", "answer": "Ada", "document": "d", "quote": "by Ada", "split": "train"}'
)


def written(path: Path, text: str) -> Path:
    (path / "gold.jsonl").write_text(text, encoding="utf-8")
    return path / "gold.jsonl"


def test_questions_with_and_without_answers_are_read(tmp_path: Path):
    items = read_gold(written(tmp_path, f'{GOOD}\n\n{{"id": "b", "question": "Why?"}}\n'))
    assert items[0] == Gold(
        id="a", question="Who?", answer="Ada", document="d", quote="by Ada", split="train"
    )
    assert [item.is_answerable for item in items] == [True, False]
    assert items[1].split == "heldout"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("not json", "JSON is malformed"),
        ('{"id": "b"}', "missing required field `question`"),
        ('{"id": "b", "question": "Why?", "anwser": "x"}', "unknown field `anwser`"),
        ('{"id": "b", "question": "Why?", "split": "test"}', "Invalid enum value 'test'"),
        ('{"id": "b", "question": 3}', "Expected `str`, got `int`"),
        ('["b"]', "Expected `object`, got `array`"),
    ],
)
def test_a_bad_line_is_named_by_its_number_and_reason(tmp_path: Path, line: str, reason: str):
    with pytest.raises(DocumentError) as error:
        read_gold(written(tmp_path, f"{GOOD}\n{line}\n"))
    assert str(error.value).startswith("Line 2 of ")
    assert reason in str(error.value)


def test_two_questions_with_one_id_are_refused(tmp_path: Path):
    with pytest.raises(DocumentError, match="two questions with the id 'a'"):
        read_gold(written(tmp_path, f"{GOOD}\n{GOOD}\n"))


def test_a_file_without_questions_is_refused(tmp_path: Path):
    with pytest.raises(DocumentError, match="holds no questions"):
        read_gold(written(tmp_path, "\n\n"))


def test_a_missing_or_binary_file_is_refused(tmp_path: Path):
    with pytest.raises(DocumentError, match="cannot be read"):
        read_gold(tmp_path / "absent.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DocumentError, match="cannot be read"):
        read_gold(tmp_path / "binary.jsonl")
