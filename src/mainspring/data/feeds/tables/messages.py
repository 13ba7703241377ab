"""Conversations in the shapes in which they are published, as role/content pairs.

openai    [{"role": "user", "content": "..."}]         content may be a list of parts of the type "text"
sharegpt  [{"from": "human", "value": "..."}]
alpaca    {"instruction": "...", "input": "...", "output": "..."}, the row itself
"""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from mainspring.errors import DocumentError
from mainspring.schema import Role

DEFAULT_FIELD = {"openai": "messages", "sharegpt": "conversations"}
ALPACA_FIELDS = ("system", "instruction", "input", "output")
KEYS = {"openai": ("role", "content"), "sharegpt": ("from", "value")}
ROLES = {role: role for role in get_args(Role) if role != "tool"}  # nor are calls of tools read
SHAREGPT_ROLES = {**ROLES, "human": "user", "gpt": "assistant"}
TELLING = ("tool_calls", "function_call", "tool_call_id", "weight")
"""What a message may say beside its text that changes what is learnt; it is not silently left out."""


def shapes(values: Mapping[str, Any], field: str) -> set[str]:
    """The shapes that a row may have; `field` holds the conversation, "" means each shape's usual one."""
    found = {shape for shape in KEYS if _has_turns(values.get(field or DEFAULT_FIELD[shape]), KEYS[shape])}
    has_alpaca = not field and all(isinstance(values.get(key), str) for key in ("instruction", "output"))
    return found | ({"alpaca"} if has_alpaca else set())


def messages(values: Mapping[str, Any], shape: str, field: str) -> list[dict[str, str]]:
    """The conversation of a row.

    Raises:
        DocumentError: what is missing or not read, in words.

    """
    if shape == "alpaca":
        return _alpaca(values)
    field = field or DEFAULT_FIELD[shape]
    turns = values.get(field)
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise DocumentError(f"its field '{field}' is no list of messages")
    return [_turn(turn, number, shape) for number, turn in enumerate(turns, start=1)]


def _has_turns(value: Any, keys: tuple[str, str]) -> bool:
    is_list = isinstance(value, list) and bool(value)
    return is_list and all(isinstance(turn, dict) and keys[0] in turn and keys[1] in turn for turn in value)


def _turn(turn: Any, number: int, shape: str) -> dict[str, str]:
    who, what = KEYS[shape]
    if not isinstance(turn, Mapping) or who not in turn or what not in turn:
        raise DocumentError(f"message {number} has no '{who}' and '{what}'")
    telling = [key for key in TELLING if turn.get(key) is not None]
    if telling:
        raise DocumentError(f"message {number} has '{telling[0]}', which is not read")
    roles = SHAREGPT_ROLES if shape == "sharegpt" else ROLES
    if turn[who] not in roles:
        raise DocumentError(f"message {number} is by '{turn[who]}'; {', '.join(roles)} are read")
    return {"role": roles[turn[who]], "content": _content(turn[what], number)}


def _content(content: Any, number: int) -> str:
    """Text, or the texts of a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(_is_text(part) for part in content):
        return "".join(part["text"] for part in content)
    raise DocumentError(f"message {number} holds something else than text")


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _alpaca(values: Mapping[str, Any]) -> list[dict[str, str]]:
    texts = {key: values.get(key) or "" for key in ALPACA_FIELDS}
    wrong = [key for key, text in texts.items() if not isinstance(text, str)]
    missing = [key for key in ("instruction", "output") if key not in values]
    if wrong or missing:
        raise DocumentError(f"its field '{(missing or wrong)[0]}' is {'missing' if missing else 'no text'}")
    asked = "\n\n".join(text for text in (texts["instruction"], texts["input"]) if text)
    system = [{"role": "system", "content": texts["system"]}] if texts["system"] else []
    return [*system, {"role": "user", "content": asked}, {"role": "assistant", "content": texts["output"]}]
