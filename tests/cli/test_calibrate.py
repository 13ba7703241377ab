"""Confidence from questions to answers, with tiny models: calibrated, shown, refused."""

import json

import msgspec
import pytest

from fakes_workspace import add_assistant, add_index, gold_items
from mainspring.app import Workspace
from mainspring.evaluate.answers import ask_all
from mainspring.flywheel.promote import promote
from mainspring.knowledge import cite

pytestmark = pytest.mark.slow


@pytest.fixture
def served(root, documents, monkeypatch):
    """An assistant in production whose every sentence counts as supported."""
    monkeypatch.setattr(cite.Aligner, "support", lambda self, sentence: self.most_relevant())
    with Workspace(root) as workspace:
        promote(workspace, add_assistant(workspace, add_index(workspace, documents)).reference)
    return root


def write_gold(path, items):
    path.write_bytes(msgspec.json.Encoder().encode_lines(items))
    return path


@pytest.fixture
def gold(served, tmp_path):
    """Questions that the assistant answers rightly, two in three; the last ones have no answer."""
    items = gold_items(120)
    with Workspace(served) as workspace:
        pairs = ask_all(workspace.assistant(), items)
    known = [
        msgspec.structs.replace(item, answer=reply.text if number % 3 else "granite")
        for number, (item, reply) in enumerate(pairs)
        if item.is_answerable
    ]
    return write_gold(tmp_path / "gold.jsonl", known)


def test_a_calibrated_assistant_says_how_confident_it_is_and_another_does_not(run, served, gold):
    assert json.loads(run("ask", "Who?", "--workspace", served, "--json")[1])["answer"]["confidence"] is None
    code, out, error = run("calibrate", "--gold", gold, "--workspace", served, "--json")
    assert code == 0, error
    told = json.loads(out)
    assert (told["assistant"], told["confidence"]) == ("assistant/mainspring@1", "confidence/mainspring-1@1")
    assert told["report"]["num_fitted"] + told["report"]["num_reported"] == len(told["items"])
    folder = served / "artifacts" / "confidence" / "mainspring-1" / "1"
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "answers.jsonl", "reliability.png"}
    said = json.loads(run("ask", "Who?", "--workspace", served, "--json")[1])
    fit = told["fit"]
    score = fit["bias"] + fit["logprob"] * said["logprob"] + fit["entropy"] * said["entropy"] + fit["shown"]
    assert said["answer"]["confidence"] == pytest.approx(1 / (1 + 2.718281828**-score), abs=1e-6)
    shown = run("ask", "Who?", "--workspace", served)[1]
    assert f"confidence {said['answer']['confidence']:.2f}" in shown
    assert "answer: log-probability -" in shown
    assert "mainspring.output.confidence" in run("trace", said["request"], "--workspace", served)[1]
    with Workspace(served) as workspace:
        spec = workspace.spec("assistant/mainspring@1").model_copy(update={"k": 2})
        other = workspace.assistant(workspace.save_assistant(spec).reference)
        ((_, reply),) = ask_all(other, gold_items(1)[:1])
    assert (reply.answer.kind, reply.answer.confidence) == ("generated", None)


def test_people_are_shown_the_figures_with_intervals(run, served, gold):
    code, out, _ = run("calibrate", "--gold", gold, "--workspace", served)
    assert code == 0
    assert "calibration error" in out
    assert "0." in out.partition("AUROC")[2].splitlines()[0]
    assert "mainspring ask" in out


def test_a_set_of_questions_that_teaches_nothing_is_refused(run, served, tmp_path):
    few = write_gold(tmp_path / "few.jsonl", gold_items(4))
    code, out, error = run("calibrate", "--gold", few, "--workspace", served)
    assert (code, out) == (2, "")
    assert "0 of 6 written answers are right" in error
    assert "at least 20" in error
    assert not (served / "artifacts" / "confidence").exists()
