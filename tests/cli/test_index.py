"""Documents in: what is indexed, what is refused, and which assistant answers from it."""

import json
import os
import subprocess
import sys

import pytest

from mainspring.app import IN_PRODUCTION, Workspace
from mainspring.knowledge.lock import hold
from mainspring.knowledge.scope import Scope


def index(run, root, *arguments):
    return run("index", *arguments, "--workspace", root, "--json")


def test_the_first_index_makes_the_first_assistant(run, root, documents):
    code, out, _ = index(run, root, documents)
    said = json.loads(out)
    assert code == 0
    assert (said["documents"], said["added"]) == (2, ["lamp.txt", "tower.md"])
    assert said["assistant"] == "assistant/mainspring@1"


def test_a_newer_index_reaches_production_without_the_gate(run, root, documents):
    index(run, root, documents)
    (documents / "spring.md").write_text("# Spring\n\nThe owner winds the spring.\n")
    code, out, _ = index(run, root, documents)
    said = json.loads(out)
    assert code == 0
    assert (said["added"], said["unchanged"]) == (["spring.md"], ["lamp.txt", "tower.md"])
    assert (said["assistant"], said["why"]) == (
        "assistant/mainspring@2",
        "the same assistant with a newer index",
    )
    with Workspace(root) as workspace:
        assert workspace.spec(IN_PRODUCTION).index == said["index"]


def test_the_same_documents_again_change_nothing(run, root, documents):
    first = json.loads(index(run, root, documents)[1])
    again = json.loads(index(run, root, documents)[1])
    assert (again["index"], again["assistant"]) == (first["index"], first["assistant"])
    assert (again["embedded"], len(again["unchanged"])) == (0, 2)


def test_bad_documents_among_good_ones_are_listed_with_their_reasons(run, root, documents):
    (documents / "binary.txt").write_bytes(b"\x00\xff\x00\x80" * 40)
    (documents / "empty.md").write_text("")
    (documents / "huge.md").write_text("The tower is huge. " * 100)
    code, out, _ = run("index", documents, "-o", "max_bytes=1000", "--workspace", root)
    rejected = out.partition("reason\n")[2].splitlines()
    assert code == 0
    assert "documents  2\n" in out
    assert [line.split()[0] for line in rejected[:3]] == ["binary.txt", "empty.md", "huge.md"]
    assert "1,000" in rejected[2]


def test_a_file_is_indexed_by_its_name(run, root, documents):
    said = json.loads(index(run, root, documents / "tower.md")[1])
    assert said["added"] == ["tower.md"]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "Give folders or files"),
        (["{documents}", "-o", "chunks.max_tokens=9"], "did you mean `chunk`?"),
        (["{documents}", "-o", "max_bytes=0"], "-o max_bytes=VALUE"),
        (["{empty}"], "has no readable document"),
        (["{documents}/gone"], "does not exist"),
        (["{documents}", "{documents}/tower.md"], "stand for two documents"),
    ],
)
def test_what_cannot_be_indexed_is_said_with_what_to_do(run, root, documents, tmp_path, arguments, wanted):
    (tmp_path / "empty").mkdir()
    places = {"documents": documents, "empty": tmp_path / "empty"}
    code, out, error = index(run, root, *(argument.format(**places) for argument in arguments))
    assert (code, out) == (2, "")
    assert error.startswith("error: ")
    assert wanted in error


def test_without_the_embedder_the_fetch_is_named(run, tmp_path, documents):
    code, _, error = index(run, tmp_path / "new", documents)
    assert code == 2
    assert "mainspring fetch minilm" in error


@pytest.mark.slow
def test_two_processes_index_one_workspace_and_nothing_is_lost(root, documents):
    command = [
        sys.executable,
        "-m",
        "mainspring",
        "index",
        str(documents),
        "--workspace",
        str(root),
        "--json",
    ]
    both = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
        )
        for _ in range(2)
    ]
    ended = [(process.communicate(timeout=120), process.returncode) for process in both]
    assert [code for _, code in ended] == [0, 0], ended
    said = [json.loads(out) for (out, _), _ in ended]
    assert [each["version"] for each in said] == [1, 1]
    assert sorted(len(each["added"]) for each in said) == [0, 2]
    with Workspace(root) as workspace:
        assert len(workspace.store().documents(Scope())) == 2


def test_one_process_indexes_and_moves_the_assistant_before_the_next_one_begins(
    run, root, documents, monkeypatch
):
    monkeypatch.setattr("mainspring.cli.index.WAIT_S", 0.1)
    with hold(root / "knowledge" / "index.lock", "The index", 1):
        code, _, message = index(run, root, documents)
    assert code == 2
    assert "still being written by another process" in message
    assert index(run, root, documents)[0] == 0
