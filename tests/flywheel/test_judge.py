"""Three systems asked the same questions, and what is kept of it."""

import math

import msgspec
import pytest

from fakes_workspace import add_assistant, add_evaluation, gold_items, lesson
from mainspring.config import build
from mainspring.data.known_sets import known_sets
from mainspring.evaluate.answers import ask_all
from mainspring.flywheel.judge import few_shot_assistant, mean_nll, passing_evaluation, run_gate
from mainspring.prompts.template import GroundedPrompt


@pytest.fixture
def few_shot(workspace, base):
    spec = workspace.spec(base.reference)
    return few_shot_assistant(workspace, spec, [lesson(number) for number in range(6)], 2)


def test_the_few_shot_opponent_is_the_base_with_examples_in_its_prompt(workspace, base, few_shot):
    before, after = workspace.spec(base.reference), workspace.spec(few_shot.reference)
    assert after.model_copy(update={"prompt": before.prompt}) == before
    prompt = build(GroundedPrompt, workspace.registry.get(after.prompt).config)
    assert [example.question for example in prompt.examples] == [lesson(0).question, lesson(3).question]
    assert all(example.answer == "7" and len(example.passages) == 1 for example in prompt.examples)
    assert workspace.registry.lineage(few_shot.reference)[after.prompt] == {"prompt": before.prompt}


def test_the_gate_keeps_every_answer_of_every_system(workspace, index, base, few_shot):
    candidate = add_assistant(workspace, index, threshold=-1.0)  # the same in all but its name
    systems = {"base": base.reference, "few_shot": few_shot.reference, "candidate": candidate.reference}
    items = gold_items(40)
    report, evaluation = run_gate(workspace, systems, items)
    assert (report.decision, report.num_items) == ("refuse", 40)
    assert "not better than base" in report.reasons[0]
    assert evaluation.parents == systems
    assert evaluation.config["decision"] == "refuse"
    assert evaluation.config["nll"]["base"] == evaluation.config["nll"]["candidate"]
    lines = (workspace.registry.folder(evaluation) / "answers.jsonl").read_bytes()
    rows = msgspec.json.Decoder(dict).decode_lines(lines)
    assert [(row["system"], row["id"]) for row in rows] == [
        (name, item.id) for name in systems for item in items
    ]
    known = {text for name, text in known_sets(workspace.registry) if name.startswith(evaluation.reference)}
    assert {item.question for item in items} <= known
    assert {item.answer for item in items if item.is_answerable} <= known
    by_system = {name: [row["generated"] for row in rows if row["system"] == name] for name in systems}
    assert by_system["candidate"] == by_system["base"] != by_system["few_shot"]


def test_the_nll_of_gold_answers_is_that_of_a_model_that_knows_nothing_yet(workspace, base):
    pairs = ask_all(workspace.assistant(base.reference), gold_items(3))
    found = mean_nll(workspace, workspace.spec(base.reference), pairs)
    assert abs(found - math.log(workspace.host("model/smollm2@1").engine.model.config.vocab_size)) < 3


def test_only_an_evaluation_that_this_version_passed_counts(workspace, index, base):
    other = add_assistant(workspace, index, threshold=0.5)
    add_evaluation(workspace, other.reference, "refuse")
    add_evaluation(workspace, base.reference, "pass")
    assert passing_evaluation(workspace, other.reference) is None
    passed = add_evaluation(workspace, other.reference, "pass")
    add_evaluation(workspace, other.reference, "refuse")
    assert passing_evaluation(workspace, other.reference) == passed
