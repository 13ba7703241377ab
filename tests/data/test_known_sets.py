"""Which texts count as evaluation texts of a workspace."""

from pathlib import Path

import pytest

from mainspring import artifact as artifacts
from mainspring.data.known_sets import LABEL, known_sets, read_set
from mainspring.errors import DocumentError
from mainspring.registry import Registry

ANSWERS = '{"system": "base", "id": "q1", "question": "Who?", "generated": "Not this", "f1": 0.5}\n'
ROWS = (
    '{"text": "one"}\n\n{"id": 7, "messages": [{"role": "user", "content": "two"}, {"role": "assistant"}]}\n'
)
GOLD = (
    '{"id": "a", "question": "What?", "answer": "That", "quote": "That is it."}\n'
    '{"id": "b", "split": "train", "question": "To be learnt", "answer": "yes"}\n'
    '{"id": "c", "question": "Nobody knows?"}\n'
)


def add(registry: Registry, kind: artifacts.Kind, name: str, file: str, content: str) -> artifacts.Artifact:
    def fill(folder: Path) -> None:
        (folder / file).write_text(content, encoding="utf-8")

    return registry.add(artifacts.write(registry.root, kind, name, fill))


def test_evaluations_labelled_datasets_and_gold_files_are_known(registry: Registry, tmp_path: Path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text(GOLD, encoding="utf-8")
    add(registry, "evaluation", "gate", "answers.jsonl", ANSWERS)
    labelled = add(registry, "dataset", "exam", "rows.jsonl", ROWS)
    add(registry, "dataset", "exam", "rows.jsonl", '{"text": "a later version without the label"}')
    add(registry, "dataset", "feedback", "lessons.jsonl", '{"text": "to be learnt"}')
    registry.label(labelled, LABEL, "held out")
    assert list(known_sets(registry, [gold])) == [
        ("evaluation/gate@1#q1", "Who?"),
        ("dataset/exam@1#1", "one"),
        ("dataset/exam@1#7", "two"),
        ("gold.jsonl#a", "What?"),
        ("gold.jsonl#a", "That"),
        ("gold.jsonl#a", "What? That"),
        ("gold.jsonl#c", "Nobody knows?"),
    ]


def test_a_built_dataset_counts_with_its_documents_and_not_with_what_it_dropped(registry: Registry):
    def fill(folder: Path) -> None:
        (folder / "documents").mkdir()
        (folder / "documents" / "test-00000.jsonl").write_text('{"id": "d", "text": "asked"}\n')
        (folder / "samples.jsonl").write_text('{"id": "e", "text": "dropped"}\n')

    exam = registry.add(artifacts.write(registry.root, "dataset", "exam", fill))
    registry.label(exam, LABEL, "held out")
    assert list(known_sets(registry)) == [("dataset/exam@1#d", "asked")]


def test_an_empty_workspace_knows_no_set(registry: Registry):
    assert list(known_sets(registry)) == []


def test_a_broken_line_is_named(tmp_path: Path):
    path = tmp_path / "gold.jsonl"
    path.write_text('{"question": "Who?"}\nnot json\n', encoding="utf-8")
    with pytest.raises(DocumentError, match=r"Line 2 of .*gold\.jsonl is not a JSON object"):
        list(read_set(path, "gold"))
    path.write_bytes(b'{"question": "\xff"}\n')
    with pytest.raises(DocumentError, match="Line 1"):
        list(read_set(path, "gold"))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DocumentError, match=r"nowhere\.jsonl cannot be read"):
        list(read_set(tmp_path / "nowhere.jsonl", "gold"))
