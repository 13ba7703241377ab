import json

import pytest

from fakes_datasets import add_dataset
from fakes_verbs import caller
from mainspring.app import Workspace
from mainspring.cli.data_split import split
from mainspring.data.document import Document


@pytest.fixture
def call(tmp_path):
    documents = [Document(id=f"d{n}", text="t", meta={"label": n % 2}) for n in range(40)]
    with Workspace(tmp_path / "w") as workspace:
        add_dataset(workspace.registry, documents, "books")
    return caller(tmp_path / "w", split=split)


def test_folds_are_made_and_counted(call):
    code, out = call("split", "books", "-o", "folds=4", "-o", "stratify=label")
    assert code == 0
    assert "dataset/books-split@1" in out
    assert "fold-0  10         10      " in out
    assert out.count("0 5") == out.count("1 5") == 4
    assert "next  mainspring data doctor books-split" in out


def test_the_same_as_json(call):
    _, out = call("split", "books", "--name", "mine", "-o", "fractions={train: 0.5, test: 0.5}", "--json")
    said = json.loads(out)
    assert said["dataset"] == "dataset/mine@1"
    assert said["splits"]["train"]["documents"] + said["splits"]["test"]["documents"] == 40
