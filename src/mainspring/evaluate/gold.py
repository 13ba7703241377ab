"""Questions with known answers, read from JSON lines.

    {"id": "train-001", "split": "train", "document": "anyio", "question": "...", "answer": "...", "quote":
    "..."}

A line without an answer is a question that nothing stored answers. The splits are made by document, so that
nothing that is learnt stands in what is judged.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from mainspring.errors import DocumentError


class Gold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question, the wanted answer, and the document and exact text that support it."""

    id: str
    question: str
    split: Literal["train", "heldout"] = "heldout"
    answer: str | None = None
    document: str | None = None
    quote: str | None = None

    @property
    def is_answerable(self) -> bool:
        return self.answer is not None


def read_gold(path: Path) -> list[Gold]:
    """All questions of a file.

    Raises:
        DocumentError: an unreadable file, or a line that is not such a question (its number is named).

    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path} cannot be read: {error}. Give a file of JSON lines.") from error
    items: list[Gold] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                items.append(msgspec.json.decode(line, type=Gold))
            except msgspec.MsgspecError as error:
                raise DocumentError(
                    f"Line {number} of {path} is not a question: {error}. Each line is an object with id and "
                    "question, and with answer, document and quote where there is an answer."
                ) from error
    _check_ids(items, path)
    return items


def _check_ids(items: Sequence[Gold], path: Path) -> None:
    if not items:
        raise DocumentError(f"{path} holds no questions; each line is one, as a JSON object.")
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise DocumentError(f"{path} has two questions with the id '{item.id}'; give each its own.")
        seen.add(item.id)
