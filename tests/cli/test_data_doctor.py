import json

import pytest

from fakes_datasets import add_dataset, add_tokenizer, plain
from fakes_verbs import caller
from mainspring.app import Workspace
from mainspring.cli.data_doctor import doctor
from mainspring.data.document import Document


@pytest.fixture
def call(tmp_path):
    with Workspace(tmp_path / "w") as workspace:
        add_tokenizer(workspace.registry)
        add_dataset(workspace.registry, plain(), "good")
        add_dataset(
            workspace.registry, [*plain(), Document(id="e#0", text=""), Document(id="l", text="cafÃ©")], "bad"
        )
    return caller(tmp_path / "w", doctor=doctor)


def test_a_clean_dataset_ends_with_exit_code_0(call):
    code, out = call("doctor", "good", "--model", "small")
    assert code == 0
    assert "dataset/good@1: no faults" in out


def test_faults_are_told_with_where_numbers_and_advice_and_end_with_exit_code_1(call):
    code, out = call("doctor", "dataset/bad@1")
    assert code == 1
    assert (
        "empty_document: there is no text in it\n    where   train: e#0\n    count   documents 1  of 62\n"
        in out
    )
    assert "advice  Drop them" in out
    assert "dataset/bad@1: 2 of 10 faults found" in out


def test_the_same_as_json(call):
    code, out = call("doctor", "bad", "--json")
    said = json.loads(out)
    assert code == 1
    assert len(said["checks"]) == 10
    assert [fault["check"] for fault in said["faults"]] == ["empty_document", "wrong_encoding"]
    assert said["faults"][0]["numbers"] == {"documents": 1, "of": 62}
    code, out = call("doctor", "good", "--json")
    assert (code, json.loads(out)["faults"]) == (0, [])
