"""The verbs `constitution` and `teach`, from prompts to a dataset that `train` would take."""

import json

import pytest

from fakes_scripted import Parrot, write_prompts
from mainspring.app import Workspace


@pytest.fixture
def told(tmp_path):
    """The options of a run over three prompts."""
    path = write_prompts(tmp_path / "prompts.jsonl", "red", "green", "blue")
    return ["-o", "name=colors", "-o", f"prompts={path}"]


@pytest.fixture
def parrot(monkeypatch):
    """Every model says what it is asked, as an answer; of two drafts that of the lower seed is better."""

    def say(messages, sampling):
        last = messages[-1].content
        if "Which answer follows" in last:
            a, b = last.partition("Answer A: ")[2], last.partition("Answer B: ")[2]
            return "A" if a.split()[1] < b.split()[1] else "B"
        return f"draft {sampling.seed:010d}"

    monkeypatch.setattr(Workspace, "chat_model", lambda *_: Parrot(say))


def test_a_teachers_answers_become_lessons(run, root, told, parrot):
    code, out, _ = run("teach", *told, "--workspace", root)
    assert code == 0
    assert "lessons  3" in out
    assert f"next  mainspring train sft -o data.dataset=dataset/colors@1 --workspace {root}" in out
    assert json.loads(run("teach", *told, "--workspace", root, "--json")[1])["lessons"] == 3


def test_revised_and_compared_answers_wait_for_a_reader(run, root, told, parrot):
    code, out, _ = run("constitution", *told, "--workspace", root)
    assert code == 0
    assert "dataset/colors-pairs@1  3" in out
    assert "review.md" in out
    code, _, error = run("train", "sft", "--plan", "-o", "data.dataset=dataset/colors", "--workspace", root)
    assert (code, "constitution accept colors" in error) == (2, True)
    code, out, _ = run("constitution", "accept", "colors-pairs", "--without", "2", "--workspace", root)
    assert code == 0
    assert "train dpo -o data.dataset=dataset/colors-pairs@2" in out
    code, _, error = run("constitution", "accept", "colors", "--without", "two", "--workspace", root)
    assert (code, "write numbers" in error) == (2, True)


@pytest.mark.slow
def test_an_engine_whose_words_never_end_leaves_nothing_and_says_why(run, root, told):
    code, _, error = run("constitution", *told, "-o", "max_tokens=2", "--workspace", root)
    assert (code, "Nothing of 3 prompts was worth keeping: the answer was cut off" in error) == (2, True)
    with Workspace(root) as workspace:
        (failed,) = workspace.runs.list("constitution")
    code, _, error = run("constitution", "--resume", failed.id, "--workspace", root)
    assert (code, "Nothing of 3 prompts" in error) == (2, True)


def test_a_run_is_described_or_named(run, root, told):
    for arguments in ([], [*told, "--resume", "x"]):
        for verb in ("teach", "constitution"):
            code, _, error = run(verb, *arguments, "--workspace", root)
            assert (code, "--resume RUN alone" in error) == (2, True)
