"""Ratings and corrections to conversations that a model can learn from.

The target is the user's correction, else the answer that was rated up; an answer rated down without a
correction says only what not to do, so it is dropped. What the model is shown is what it was shown then,
passages included.
"""

from collections.abc import Sequence

import msgspec

from mainspring.observe.feedback import FeedbackRow
from mainspring.schema import Message


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation whose last message is the wanted answer, and where it came from."""

    request: str
    source: str
    question: str
    messages: tuple[Message, ...]


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    request: str
    reason: str


def harvest(rows: Sequence[FeedbackRow]) -> tuple[list[Lesson], list[Dropped]]:
    """Lessons from feedback, and what was left out with its reason."""
    lessons: list[Lesson] = []
    dropped: list[Dropped] = []
    for row in rows:
        target = row.correction or (row.answer.text if row.rating == "up" else None)
        if target is None:
            dropped.append(Dropped(request=row.request, reason="rated down without a correction"))
        elif row.correction is None and row.answer.kind not in (None, "generated"):
            dropped.append(
                Dropped(request=row.request, reason=f"rated up, but the answer was {row.answer.kind}")
            )
        else:
            lessons.append(
                Lesson(
                    request=row.request,
                    source=row.source,
                    question=row.answer.messages[-1].content,
                    messages=(*row.answer.prompt_messages, Message(role="assistant", content=target.strip())),
                )
            )
    return lessons, dropped
