"""The assistant that needs no gate, and the same one over newer documents."""

from typing import Literal

import pytest

from mainspring.app import IN_PRODUCTION
from mainspring.evaluate.gold import Gold
from mainspring.flywheel.base_assistant import THRESHOLD, base_assistant, refresh
from mainspring.flywheel.promote import promote

from fakes_workspace import add_index  # isort: skip


@pytest.fixture
def newer(workspace, index, documents):
    """The index after a document was added."""
    (documents / "spring.md").write_text("# Spring\n\nThe owner winds the spring.\n")
    return lambda: add_index(workspace, documents)


def test_it_is_made_of_the_model_the_prompt_and_the_index(workspace, index):
    made = base_assistant(workspace, index, [])
    assert made.parents == {
        "model": "model/smollm2@1",
        "prompt": "prompt/grounded@1",
        "index": index.reference,
    }
    assert workspace.spec(made.reference).threshold == THRESHOLD
    assert workspace.registry.labelled("assistant", "mainspring", "production") is None
    assert base_assistant(workspace, index, []).reference == made.reference


def test_its_threshold_is_calibrated_on_training_questions_about_what_is_there(workspace, index):
    def item(number, question, document, split: Literal["train", "heldout"] = "train"):
        return Gold(id=str(number), question=question, split=split, answer="x", document=document)

    elsewhere = [item(1, "Who?", "gone.md"), item(2, "When was the tower built?", "tower.md", "heldout")]
    assert workspace.spec(base_assistant(workspace, index, elsewhere).reference).threshold == THRESHOLD
    here = [item(3, "When was the tower built?", "tower.md"), item(4, "What does the lamp do?", "lamp.txt")]
    assert workspace.spec(base_assistant(workspace, index, here).reference).threshold != THRESHOLD


def test_a_newer_index_makes_the_next_version_and_changes_nothing_else(workspace, index, newer):
    first = base_assistant(workspace, index, [])
    promote(workspace, first.reference)
    assert refresh(workspace, index) is None
    index_now = newer()
    second = refresh(workspace, index_now)
    assert second is not None
    before, after = workspace.spec(first.reference), workspace.spec(second.reference)
    assert after == before.model_copy(update={"index": index_now.reference})
    assert promote(workspace, second.reference) == "the same assistant with a newer index"
    assert workspace.spec(IN_PRODUCTION).index == index_now.reference
    assert refresh(workspace, index) is None  # an older one is no reason to go back
