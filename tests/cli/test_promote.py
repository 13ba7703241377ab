"""What may answer in production."""

import json

import pytest

from mainspring.app import IN_PRODUCTION, Workspace

pytestmark = pytest.mark.slow


@pytest.fixture
def indexed(run, root, documents):
    assert run("index", documents, "--workspace", root)[0] == 0
    return root


@pytest.fixture
def candidate(indexed):
    with Workspace(indexed) as workspace:
        spec = workspace.spec(IN_PRODUCTION)
        return workspace.save_assistant(spec.model_copy(update={"threshold": 0.9})).reference


def test_what_has_not_passed_the_gate_is_refused(run, indexed, candidate):
    code, out, error = run("promote", candidate, "--workspace", indexed)
    assert (code, out) == (3, "")
    assert f"mainspring gate {candidate}" in error


def test_another_assistant_with_a_newer_index_needs_the_gate_too(run, indexed, candidate, documents):
    (documents / "more.md").write_text("# More\n\nThe spring winds the lamp.\n")
    run("index", documents, "--workspace", indexed)
    with Workspace(indexed) as workspace:
        spec = workspace.spec(candidate)
        index = workspace.spec(IN_PRODUCTION).index
        other = workspace.save_assistant(spec.model_copy(update={"index": index})).reference
    assert run("promote", other, "--workspace", indexed)[0] == 3


def test_a_rollback_goes_to_the_version_before(run, indexed, documents):
    (documents / "more.md").write_text("# More\n\nThe spring winds the lamp.\n")
    run("index", documents, "--workspace", indexed)
    code, out, _ = run("promote", "--rollback", "--workspace", indexed, "--json")
    said = json.loads(out)
    assert code == 0
    assert (said["before"], said["promoted"]) == ("assistant/mainspring@2", "assistant/mainspring@1")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["assistant/mainspring@99"], "There is no assistant/mainspring@99"),
        (["model/smollm2@1"], "is not an assistant"),
        (["nonsense"], "kind/name@version"),
        ([], "--rollback"),
    ],
)
def test_what_cannot_be_promoted_is_said_with_what_can(run, indexed, arguments, wanted):
    code, _, error = run("promote", *arguments, "--workspace", indexed)
    assert code == 2
    assert wanted in error


def test_there_is_no_way_back_from_the_first(run, indexed):
    assert run("promote", "--rollback", "--workspace", indexed)[0] == 3


def test_the_gate_wants_held_out_questions_and_lessons(run, indexed, candidate, tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"id": "a", "split": "train", "question": "Who?"}\n')
    code, _, error = run("gate", candidate, "--gold", gold, "--workspace", indexed)
    assert (code, "held-out" in error) == (2, True)
    gold.write_text('{"id": "a", "question": "Who?"}\n')
    code, _, error = run("gate", candidate, "--gold", gold, "--workspace", indexed)
    assert (code, "dataset/feedback" in error) == (2, True)
    code, _, error = run("gate", IN_PRODUCTION, "--gold", gold, "--workspace", indexed)
    assert (code, "in production itself" in error) == (2, True)


def test_an_evaluation_prints_its_summary(run, indexed, tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text(
        '{"id": "a", "question": "When?", "answer": "1890", "document": "tower.md", "quote": "1890"}\n'
        '{"id": "b", "question": "Who?"}\n'
    )
    code, out, _ = run("eval", "--gold", gold, "--workspace", indexed)
    assert code == 0
    assert "1 with an answer, 1 without" in out
    assert "token F1" in out


def test_a_turn_without_enough_questions_is_refused_before_training(run, indexed, tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"id": "a", "question": "When?", "answer": "1890"}\n')
    code, _, error = run("flywheel", "run", "--gold", gold, "--workspace", indexed)
    assert code == 2
    assert "at least 40" in error
