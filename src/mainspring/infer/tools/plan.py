"""What a request's tools mean for its prompt, its constraint and the reading of its reply.

auto: the template is shown the tools and the reply is read in the template's format
required, or one by name: the reply is held to JSON calls of the tools, whatever the template's format
none: the model is not told of the tools
"""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mainspring.errors import ConfigError
from mainspring.infer.tools.base import Parser
from mainspring.infer.tools.json_calls import HermesCalls, Llama3Calls, MistralCalls
from mainspring.infer.tools.pythonic import PythonicCalls
from mainspring.schema import Ask, Constraint, Tool

MAX_FORCED_CALLS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPlan:
    """`shown` are the tools that the prompt tells of; `special` the special tokens that `parser` must see.

    After `max_calls` the reply is over.
    """

    shown: tuple[Tool, ...] = ()
    constraint: Constraint | None = None
    parser: Callable[[], Parser] = Parser
    special: tuple[str, ...] = ()
    max_calls: int | None = None


def plan(ask: Ask, template: str) -> ToolPlan:
    """See the module.

    Raises:
        ConfigError: a choice of a tool that is not there, or calls that must come beside another constraint.

    """
    names = [tool.name for tool in ask.tools]
    if ask.tool_choice not in {"auto", "none", *names} and not (ask.tool_choice == "required" and names):
        raise ConfigError(
            f"`tool_choice` is '{ask.tool_choice}'; it must be auto, none, required (with tools) or one of the tools: "
            f"{', '.join(names) or 'none was given'}."
        )
    if not names or ask.tool_choice == "none":
        return ToolPlan(constraint=ask.constraint)
    spoken, constraint = choose(template), ask.constraint
    if ask.tool_choice != "auto":
        if constraint is not None:
            raise ConfigError(
                f"`tool_choice` is '{ask.tool_choice}', which holds the reply to calls, and another constraint was "
                "given as well. Leave one of them out."
            )
        forced = [tool for tool in ask.tools if ask.tool_choice in ("required", tool.name)]
        several = ask.parallel_tool_calls and ask.tool_choice == "required"
        constraint = Constraint(kind="json_schema", value=calls_schema(forced, several=several))
        spoken = Llama3Calls
    return ToolPlan(
        shown=ask.tools, constraint=constraint, parser=functools.partial(spoken, names),
        special=spoken.special, max_calls=None if ask.parallel_tool_calls else 1,
    )  # fmt: skip


def choose(template: str) -> type[Parser]:
    """The format that a template speaks; Hermes' for one that says nothing of tools, which is told of it then."""
    known = (MistralCalls, HermesCalls, PythonicCalls, Llama3Calls)
    return next((each for each in known if any(mark in template for mark in each.marks)), HermesCalls)


def calls_schema(tools: Sequence[Tool], *, several: bool) -> dict[str, Any]:
    """The JSON Schema of a call of one of the tools, or of a list of such calls."""
    parts = {f"tool{index}": _moved(tool, f"#/$defs/tool{index}") for index, tool in enumerate(tools)}
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/{part}"}},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for part, tool in zip(parts, tools, strict=True)
    ]
    one = calls[0] if len(calls) == 1 else {"anyOf": calls}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_FORCED_CALLS}
    return {"$defs": parts, **(many if several else one)}


def _moved(tool: Tool, place: str) -> dict[str, Any]:
    """A tool's parameters with their own references changed to where they stand now."""

    def point(part: dict[str, Any]) -> dict[str, Any]:
        match part:
            case {"$ref": str(reference)} if reference.startswith("#"):
                return part | {"$ref": place + reference[1:]}
        return part

    return json.loads(json.dumps(tool.parameters or {"type": "object"}), object_hook=point)
