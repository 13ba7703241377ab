"""Lessons to a dataset: the last word on a question counts, and no evaluation question is learnt."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from mainspring import artifact as artifacts
from mainspring.app import Workspace
from mainspring.artifact import Artifact
from mainspring.errors import UserError
from mainspring.evaluate.gold import Gold
from mainspring.flywheel.harvest import Dropped, Lesson

DATASET, LESSONS, DROPPED = "feedback", "lessons.jsonl", "dropped.jsonl"


def curate(
    lessons: Sequence[Lesson], held_out: Sequence[Gold], *, max_characters: int = 8000
) -> tuple[list[Lesson], list[Dropped]]:
    """Keep one lesson a question, in order; drop what is too long or stands in an evaluation set."""
    forbidden = {_normal(item.question) for item in held_out}
    last = {_normal(lesson.question): lesson for lesson in lessons}
    kept: list[Lesson] = []
    dropped: list[Dropped] = []
    for lesson in lessons:
        size = sum(len(message.content) for message in lesson.messages)
        if last[_normal(lesson.question)] is not lesson:
            reason = "answered again by later feedback"
        elif _normal(lesson.question) in forbidden:
            reason = "the question stands in the evaluation set"
        elif size > max_characters:
            reason = f"{size:,} characters; {max_characters:,} is the limit"
        else:
            kept.append(lesson)
            continue
        dropped.append(Dropped(request=lesson.request, reason=reason))
    return kept, dropped


def save(workspace: Workspace, lessons: Sequence[Lesson], dropped: Sequence[Dropped]) -> Artifact:
    """A dataset artifact with the lessons and, beside them, what was dropped and why."""
    if not lessons:
        raise UserError(
            f"No feedback to learn from: {len(dropped)} ratings, all dropped. Rate answers on the page, with a "
            "correction where they are wrong."
        )

    def fill(folder: Path) -> None:
        encode = msgspec.json.Encoder().encode_lines
        (folder / LESSONS).write_bytes(encode(lessons))
        (folder / DROPPED).write_bytes(encode(dropped))

    config = {"lessons": len(lessons), "dropped": len(dropped)}
    return workspace.registry.add(
        artifacts.write(workspace.registry.root, "dataset", DATASET, fill, config=config)
    )


def read(workspace: Workspace, dataset: Artifact) -> list[Lesson]:
    """The lessons of a dataset artifact."""
    artifacts.check(dataset, workspace.registry.folder(dataset))
    text = (workspace.registry.folder(dataset) / LESSONS).read_bytes()
    return msgspec.json.Decoder(Lesson).decode_lines(text)


def _normal(question: str) -> str:
    return " ".join(question.lower().split()).rstrip("?!. ")
