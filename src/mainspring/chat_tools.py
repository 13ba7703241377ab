"""Tools in conversations: as published templates want them, and in words for templates that know none."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from mainspring.schema import Message, Tool, ToolCall

INTRODUCTION = (
    "You may call functions to answer the user. Their signatures, as JSON, one a line, between <tools> and </tools>:\n"
    "<tools>\n{tools}\n</tools>\n"
    "For each call write a JSON object with the function's name and its arguments between <tool_call> and "
    "</tool_call>:\n"
    '<tool_call>\n{{"name": <name>, "arguments": <arguments as a JSON object>}}\n</tool_call>'
)


def published_tools(tools: Sequence[Tool], change: Callable[[str], str]) -> list[dict[str, Any]]:
    """The variable `tools` of published templates; `change` goes over every string."""
    return [
        {
            "type": "function",
            "function": {
                "name": change(tool.name),
                "description": change(tool.description),
                "parameters": _changed(tool.parameters or {"type": "object", "properties": {}}, change),
            },
        }
        for tool in tools
    ]


def published_turns(messages: Sequence[Message], change: Callable[[str], str]) -> list[dict[str, Any]]:
    """The variable `messages`: arguments are objects there, and a tool's answer has the tool's name."""
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for message in messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.tool_calls:
            names |= {call.id: call.name for call in message.tool_calls}
            turn["tool_calls"] = [
                {
                    "id": change(call.id),
                    "type": "function",
                    "function": {"name": change(call.name), "arguments": _changed(arguments(call), change)},
                }
                for call in message.tool_calls
            ]
        if message.role == "tool":
            turn |= {
                "tool_call_id": change(message.tool_call),
                "name": change(names.get(message.tool_call, "")),
            }
        turns.append(turn)
    return turns


def arguments(call: ToolCall) -> Any:
    """A call's arguments as an object, or as the text they are where that is no JSON."""
    try:
        return json.loads(call.arguments or "{}")
    except ValueError:
        return call.arguments


def in_words(messages: Sequence[Message], tools: Sequence[Tool]) -> tuple[list[Message], list[int]]:
    """The conversation without tools' roles, in Hermes' form, and the message that each one came from.

    Tools are described at the end of the system message, calls stand in the assistant's text, and answers come as a
    user's message (arXiv:2408.11857, section on function calling).
    """
    words: list[Message] = []
    origins: list[int] = []
    if tools:
        lines = [json.dumps(tool, ensure_ascii=False) for tool in published_tools(tools, str)]
        introduction = INTRODUCTION.format(tools="\n".join(lines))
        is_first = messages[0].role == "system"
        system = f"{messages[0].content}\n\n{introduction}" if is_first else introduction
        words, origins = [Message("system", system)], [0 if is_first else -1]
    for index, message in enumerate(messages):
        if message.role == "system" and tools and index == 0:
            continue
        if message.role in ("tool", "user") and words and words[-1].role == "user":
            words[-1] = Message("user", f"{words[-1].content}\n{_worded(message)}")
            continue
        role = "user" if message.role == "tool" else message.role
        words.append(Message(role, _worded(message)))
        origins.append(index)
    return words, origins


def _worded(message: Message) -> str:
    if message.role == "tool":
        return f"<tool_response>\n{message.content}\n</tool_response>"
    calls = [
        json.dumps({"name": call.name, "arguments": arguments(call)}, ensure_ascii=False)
        for call in message.tool_calls
    ]
    parts = [message.content] if message.content or not calls else []
    return "\n".join([*parts, *(f"<tool_call>\n{call}\n</tool_call>" for call in calls)])


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return [_changed(each, change) for each in value]
    if isinstance(value, dict):
        return {change(key): _changed(each, change) for key, each in value.items()}
    return value
