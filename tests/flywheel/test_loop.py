"""A whole turn with tiny models: whatever the gate says, what was made agrees with what is reported."""

import pytest

from fakes_workspace import PLACES, ask, gold_items, recipe
from mainspring.app import IN_PRODUCTION
from mainspring.errors import UserError
from mainspring.flywheel import curate
from mainspring.flywheel.loop import FlywheelConfig, turn


def correct(workspace, answer, count=6):
    """Ask and correct, one rating a question; one more is rated down and nothing else."""
    for number in range(count):
        request, _ = ask(workspace, f"How many {PLACES[number % len(PLACES)]}s of row {number}?")
        workspace.feedback.give(request, "down", answer)
    request, _ = ask(workspace, "Who painted it?")
    workspace.feedback.give(request, "down")


def spin(workspace, items, **train):
    """A turn with everything it did: (turn, released references, announced stages)."""
    released, stages = [], []
    made = turn(
        workspace, FlywheelConfig(tune=recipe(**train), num_examples=1), items,
        release=lambda _, reference: released.append(reference), announce=stages.append,
    )  # fmt: skip
    return made, released, stages


def check_artifacts(workspace, base, made):
    registry = workspace.registry
    lineage = registry.lineage(made.candidate)
    assert lineage[made.candidate]["adapter"] == made.adapter
    assert lineage[made.adapter] == {"base": "model/smollm2@1", "dataset": made.dataset}
    assert (made.base, made.lessons, made.dropped) == (base.reference, 6, 1)
    assert len(curate.read(workspace, registry.get(made.dataset))) == made.lessons
    evaluation = registry.get(made.evaluation, verify=True)
    assert (evaluation.parents["base"], evaluation.parents["candidate"]) == (made.base, made.candidate)
    assert evaluation.config["decision"] == made.gate.decision
    assert (evaluation.config["after"], evaluation.config["nll"]) == (made.gate.after, made.nll)
    (run,) = workspace.runs.list("train")
    assert (run.id, run.status, run.result) == (made.run, "done", {"adapter": made.adapter})
    assert registry.get(IN_PRODUCTION).reference == base.reference  # `release` moved nothing


@pytest.mark.slow
def test_what_has_learnt_the_wanted_answers_passes_and_is_released(workspace, base):
    correct(workspace, "7")
    made, released, stages = spin(workspace, gold_items(answer="7"), epochs=30)
    check_artifacts(workspace, base, made)
    assert made.gate.decision == "pass", made.gate
    assert made.nll["candidate"] < made.nll["base"]
    assert released == [made.promoted] == [made.candidate]
    assert stages == ["collect", "tune", "gate", "promote"]


@pytest.mark.slow
def test_what_has_learnt_something_else_is_refused_and_not_released(workspace, base):
    correct(workspace, "7")
    made, released, stages = spin(workspace, gold_items(answer="granite"), epochs=1)
    check_artifacts(workspace, base, made)
    assert made.gate.decision == "refuse"
    assert made.gate.reasons
    assert (released, made.promoted) == ([], None)
    assert stages == ["collect", "tune", "gate"]


def test_too_few_questions_are_refused_before_anything_is_made(workspace, base):
    with pytest.raises(UserError, match=r"39 held-out questions.*at least 40"):
        turn(workspace, FlywheelConfig(), gold_items(39))
    assert workspace.registry.list("dataset") == []


def test_a_turn_without_feedback_says_what_to_do(workspace, base):
    with pytest.raises(UserError, match="No feedback to learn from"):
        turn(workspace, FlywheelConfig(), gold_items())
    assert workspace.runs.list() == []


def test_feedback_on_an_evaluation_question_is_not_learnt(workspace, base):
    (item, *_) = items = gold_items()
    request, _ = ask(workspace, item.question)
    workspace.feedback.give(request, "down", "7")
    with pytest.raises(UserError, match="1 ratings, all dropped"):
        turn(workspace, FlywheelConfig(), items)
