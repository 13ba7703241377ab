"""Which lessons make a dataset, and what guards the dataset."""

import msgspec
import pytest

from fakes_workspace import lesson
from mainspring.errors import ChecksumError, UserError
from mainspring.evaluate.gold import Gold
from mainspring.flywheel import curate
from mainspring.flywheel.harvest import Dropped


def asked(question, answer, number=0):
    return msgspec.structs.replace(lesson(number, answer), question=question, request=f"req-{answer}")


def test_the_last_word_on_a_question_counts():
    lessons = [asked("When?", "1890"), asked("Who?", "nobody"), asked(" WHEN ", "1891")]
    kept, (dropped,) = curate.curate(lessons, [])
    assert [each.messages[-1].content for each in kept] == ["nobody", "1891"]
    assert (dropped.request, dropped.reason) == ("req-1890", "answered again by later feedback")


def test_a_question_of_the_evaluation_is_never_learnt():
    held_out = [Gold(id="a", question="When was  it Built")]
    kept, (dropped,) = curate.curate([asked("when was it built?", "1890"), asked("Who?", "x")], held_out)
    assert [each.question for each in kept] == ["Who?"]
    assert "evaluation set" in dropped.reason


def test_a_lesson_that_is_too_long_is_dropped_with_both_sizes():
    kept, (dropped,) = curate.curate([asked("When?", "9" * 100)], [], max_characters=99)
    assert kept == []
    assert "99 is the limit" in dropped.reason


def test_an_empty_dataset_is_refused_with_what_to_do(workspace):
    with pytest.raises(UserError, match=r"1 ratings, all dropped.*correction"):
        curate.save(workspace, [], [Dropped(request="req-1", reason="rated down")])
    assert workspace.registry.list("dataset") == []


def test_lessons_come_back_from_their_artifact(workspace):
    lessons = [lesson(0), lesson(1, "the \N{SNOWMAN}\nand more")]
    dataset = curate.save(workspace, lessons, [Dropped(request="req-9", reason="why")])
    assert curate.read(workspace, workspace.registry.get("dataset/feedback")) == lessons
    assert dataset.config == {"lessons": 2, "dropped": 1}
    assert "why" in (workspace.registry.folder(dataset) / curate.DROPPED).read_text()


def test_an_edited_lesson_is_not_learnt(workspace):
    dataset = curate.save(workspace, [lesson(0)], [])
    file = workspace.registry.folder(dataset) / curate.LESSONS
    file.write_text(file.read_text().replace('"7"', '"8"'))
    with pytest.raises(ChecksumError, match=r"lessons\.jsonl.*sha256"):
        curate.read(workspace, dataset)
