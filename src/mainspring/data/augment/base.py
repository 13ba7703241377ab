"""What a kind of augmentation is, and how it is applied to a document.

A kind changes texts; what a document's texts are is told here: its text, or the contents of its conversation
that may change. An answer that is learnt stays as it is unless the kind says otherwise.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from mainspring.data.document import Document


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a text; `text` is None where nothing did, for a `reason`."""

    text: str | None = None
    reason: str = ""


class Augmenter(Protocol):
    """One kind: mask, counterfactual, paraphrase."""

    name: str
    roles: tuple[str, ...]
    """Whose messages may be changed."""

    def __call__(self, texts: Sequence[str], keys: Sequence[str], copy: int) -> list[Changed]:
        """Change each text for the `copy`-th time, from 1; a text's key decides what is random."""
        ...


def texts_of(document: Document, roles: Sequence[str]) -> list[str]:
    """The texts of a document that may be changed, in order."""
    if "messages" not in document.meta:
        return [document.text]
    return [each["content"] for each in _turns(document, roles)]


def with_texts(
    document: Document, roles: Sequence[str], texts: Sequence[str], kind: str, copy: int
) -> Document:
    """The document with other texts, marked as made from the first; both are of one group, so no split parts them."""
    meta = {**document.meta, "augmented": kind, "of": document.id}
    rest = iter(texts)
    if "messages" in document.meta:
        may = {id(each) for each in _turns(document, roles)}
        meta["messages"] = [
            {**each, "content": next(rest)} if id(each) in may else each for each in document.meta["messages"]
        ]
    return msgspec.structs.replace(
        document, id=f"{document.id}~{kind}-{copy}", group=document.group or document.id, meta=meta,
        text=document.text if "messages" in document.meta else next(rest),
    )  # fmt: skip


def _turns(document: Document, roles: Sequence[str]) -> list[dict[str, Any]]:
    messages = document.meta["messages"]
    return [
        each
        for each in (messages if isinstance(messages, list) else ())
        if isinstance(each, dict) and each.get("role") in roles and isinstance(each.get("content"), str)
    ]
