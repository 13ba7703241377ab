"""data build and data peek as a person and as a program sees them."""

import json

import pytest
import yaml

from fakes_build import write_rows

TEXTS = [
    f"{word} is what stood in the book of the keeper!"
    for word in ("tower", "lamp", "wheel", "clock", "spring")
]


@pytest.fixture
def recipe(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", [*TEXTS, TEXTS[0], "too short", "  "])
    values = {
        "name": "books",
        "sources": [{"kind": "fake", "path": str(rows)}],
        "rules": ["quiet", {"short": {"min_words": 4}}],
        "dedup": {"near": False},
        "split": {"fractions": {"train": 0.5, "test": 0.5}},
        "executor": {"workers": 1},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def here(tmp_path):
    return ("--workspace", tmp_path / "workspace")


def test_a_build_says_what_came_in_what_went_and_what_comes_next(run, recipe, here):
    code, out, error = run("data", "build", "-c", recipe, *here)
    assert code == 0
    assert "came in   7 documents" in out
    assert "1 could not be read" in out
    assert "came out  5 documents" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["short", "too_short", "dropped", "1", "14.3%", "9", "B"] in rows
    assert ["quiet", "too_loud", "changed", "6", "85.7%", "6", "B"] in rows
    assert ["exact", "duplicate", "dropped", "1", "16.7%", "45", "B"] in rows
    assert "exact: 1 clusters of 2 documents, the largest of 2" in out
    assert "next  mainspring data peek books --workspace" in out
    assert "next  mainspring data shard books --tokenizer NAME" in out
    assert "read: 1 parts" in error


def test_a_program_gets_one_object(run, recipe, here):
    code, out, _ = run("data", "build", "-c", recipe, "-o", "name=others", *here, "--json")
    said = json.loads(out)
    assert code == 0
    assert said["dataset"] == "dataset/others@1"
    assert said["report"]["steps"]["short"]["dropped"]["too_short"]["documents"] == 1
    assert [stage["stage"] for stage in said["stages"]] == ["read", "duplicates", "finish", "publish"]
    assert said["is_new"] is True
    again = json.loads(run("data", "build", "-c", recipe, "-o", "name=others", *here, "--json")[1])
    assert (again["dataset"], again["is_new"]) == ("dataset/others@1", False)


def test_peek_shows_documents_and_why_others_went(run, recipe, here):
    run("data", "build", "-c", recipe, *here)
    code, out, _ = run("data", "peek", "books", "--split", "train", *here)
    assert code == 0
    assert "is what stood in the book of the keeper\n" in out
    _, out, _ = run("data", "peek", "books", "--rule", "short", *here)
    assert "rows.jsonl#7  dropped by short: too_short  words 2\n    too short\n" in out
    _, out, _ = run("data", "peek", "books", "--reason", "duplicate", *here)
    assert "rows.jsonl#6  dropped by exact: duplicate" in out
    assert "for the sake of rows.jsonl#1" in out
    _, out, _ = run("data", "peek", "books", "--rule", "quiet", "-n", 2, *here, "--json")
    assert [sample["numbers"] for sample in json.loads(out)["shown"]] == [{"marks": 1}] * 2


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["build"], "Give a recipe with -c FILE"),
        (["build", "-c", "{recipe}", "--accept"], "--accept is for --resume"),
        (["build", "--resume", "data-1", "-o", "name=x"], "-o changes a recipe given with -c"),
        (["build", "--resume", "data-1"], "There is no run 'data-1'"),
        (["build", "-c", "{recipe}", "-o", "splits.seed=1"], "did you mean `split`"),
        (["build", "-c", "{recipe}", "-o", "split.fractions={{train: 2}}"], "add up to 1"),
        (["build", "-c", "{recipe}.gone"], "cannot be read"),
        (["peek", "nothing"], "There is no dataset/nothing"),
        (["peek", "books", "--rule", "shrt"], "there are those of exact duplicate"),
        (["peek", "books", "--split", "dev"], "There is no split 'dev'; there is test, train"),
        (["peek", "books", "--split", "test", "--rule", "short"], "--split is for documents that were kept"),
        (["peek", "books", "--tokens", "--rule", "short"], "--rule and --reason are of documents"),
        (["peek", "books", "--document", "x"], "are for --tokens or --packed"),
        (["peek", "books", "--tokens"], "mainspring data shard books"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_to_do(run, recipe, here, arguments, wanted):
    run("data", "build", "-c", recipe, *here)
    code, out, error = run("data", *(argument.format(recipe=recipe) for argument in arguments), *here)
    assert (code, out) == (2, "")
    assert wanted in error


def test_a_dataset_of_another_kind_is_told(run, here):
    from mainspring import artifact as artifacts
    from mainspring.app import Workspace

    with Workspace(here[1]) as workspace:
        made = artifacts.write(workspace.registry.root, "dataset", "lessons", lambda _: None)
        workspace.registry.add(made)
    code, _, error = run("data", "peek", "lessons", *here)
    assert code == 2
    assert "was not made by `mainspring data build`" in error
