"""A document's text is told twice where it is a conversation: as text, and as messages in `meta`.

A rule that rewrites what is said must rewrite both, or what it took out is learnt after all.
"""

from collections.abc import Callable
from typing import Any

from mainspring.data.document import Document


def rewrite_messages(document: Document, rewrite: Callable[[str], str]) -> dict[str, Any]:
    """What to say anew in `meta`: {"messages": ...} if a message changed, else nothing."""
    messages = document.meta.get("messages")
    if not isinstance(messages, list):
        return {}
    changed = [_rewrite(message, rewrite) for message in messages]
    return {"messages": changed} if changed != messages else {}


def _rewrite(message: Any, rewrite: Callable[[str], str]) -> Any:
    if isinstance(message, dict) and isinstance(message.get("content"), str):
        return {**message, "content": rewrite(message["content"])}
    return message
