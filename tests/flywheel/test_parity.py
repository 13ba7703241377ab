"""The same ids and texts everywhere, and a check that would see it if they were not."""

import sqlite3
from contextlib import closing

import msgspec
import pytest

from fakes_workspace import add_assistant, ask, gold_items
from mainspring import trace
from mainspring.errors import NotFoundError
from mainspring.evaluate.answers import GENERATED
from mainspring.flywheel import parity
from mainspring.flywheel.judge import run_gate
from mainspring.flywheel.loop import collect
from mainspring.flywheel.promote import promote
from mainspring.schema import Message

pytestmark = pytest.mark.slow

ITEMS = gold_items(40)


def live(workspace, assistant, model="mainspring"):
    """Production, three lessons of it and an evaluation that it stands in."""
    promote(workspace, assistant.reference)
    for number in range(3):
        request, _ = ask(workspace, f"What turns around place {number}?", model)
        workspace.feedback.give(request, "down", f"the lamp {number}")
    collect(workspace, ITEMS)
    run_gate(workspace, dict.fromkeys(("base", "few_shot", "candidate"), assistant.reference), ITEMS)


@pytest.fixture
def lived(workspace, index):
    live(workspace, add_assistant(workspace, index))
    return workspace


def test_what_was_trained_on_and_what_was_sent_are_equal(lived):
    report = parity.check(lived)
    assert report.differences == []
    assert (report.ids_checked, report.ids_equal, report.texts_checked, report.text_equal) == (
        3,
        True,
        3,
        True,
    )


def test_a_text_that_a_stop_string_ended_is_equal_too(workspace, index):
    free = add_assistant(workspace, index)
    promote(workspace, free.reference)
    assistant = workspace.assistant(free.reference)
    replies = [
        assistant.reply([Message("user", item.question)], assistant.default_sampling) for item in ITEMS[:5]
    ]
    text = max((reply.attributes[GENERATED].strip() for reply in replies), key=len)
    stop = text.strip()[-1]
    spec = workspace.spec(free.reference)
    stopped = workspace.save_assistant(
        spec.model_copy(update={"sampling": {"max_tokens": 6, "stop": [stop]}})
    )
    workspace.registry.label(stopped, "production", "test")
    run_gate(workspace, dict.fromkeys(("base", "few_shot", "candidate"), stopped.reference), ITEMS)
    num_texts, differences = parity.check_texts(workspace, None, 20)
    assert num_texts > 0
    assert differences == []


def test_another_template_in_the_model_is_found(lived):
    folder = lived.registry.folder(lived.registry.get("model/smollm2"))
    changed = 0
    for file in folder.iterdir():
        if file.suffix in (".json", ".jinja") and b"im_start|>" in (data := file.read_bytes()):
            file.write_bytes(
                data.replace(b"Be brief.", b"Be long.").replace(b"turn['role'] +", b"turn['role'] + ':' +")
            )
            changed += file.read_bytes() != data
    assert changed
    report = parity.check(lived)
    assert not report.ids_equal
    assert "they differ from id" in report.differences[0]


def test_an_edited_trace_is_found_with_its_request_and_place(lived):
    (event, *_) = [
        each for each in lived.log.find(type="span") if each.data["attributes"].get(trace.PROMPT_IDS)
    ]
    event.data["attributes"][trace.PROMPT_IDS][4] += 1
    with closing(sqlite3.connect(lived.root / "mainspring.db")) as connection, connection:
        connection.execute(
            "UPDATE events SET data = ? WHERE id = ?", (msgspec.json.encode(event.data), event.id)
        )
    report = parity.check(lived)
    (difference,) = report.differences
    assert not report.ids_equal
    assert report.text_equal
    assert difference.startswith(f"{event.subject}: ")
    assert difference.endswith("differ from id 4 on")


def test_a_version_that_was_never_evaluated_cannot_be_compared(lived, index):
    other = add_assistant(lived, index, threshold=-1.0)
    lived.registry.label(other, "production", "test")
    with pytest.raises(NotFoundError, match="Run `mainspring gate`"):
        parity.check(lived)
