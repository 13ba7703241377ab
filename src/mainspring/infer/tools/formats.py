"""The published formats, and which of them a model's template speaks.

Hermes (Qwen, and whoever has none of his own): <tool_call>{"name": ..., "arguments": {...}}</tool_call>
Llama 3: {"name": ..., "parameters": {...}}, the whole reply, perhaps behind <|python_tag|>, several with ; between
Mistral: [TOOL_CALLS] [{"name": ..., "arguments": {...}}, ...], or [TOOL_CALLS]name[ARGS]{...}
pythonic (Llama 4 and others): [name(key="value"), ...], the whole reply
"""

from mainspring.infer.tools.base import Parser
from mainspring.infer.tools.json_calls import JsonCalls
from mainspring.infer.tools.pythonic import PythonicCalls


class HermesCalls(JsonCalls):
    marks = ("<tool_call>",)
    special = ("<tool_call>", "</tool_call>")
    opening, closing = special


class MistralCalls(JsonCalls):
    marks = ("[TOOL_CALLS]",)
    special = ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]")
    opening, closing = "[TOOL_CALLS]", "]"
    is_named = True


class Llama3Calls(JsonCalls):
    marks = ("<|python_tag|>", '"parameters"', "ipython")
    special = ("<|python_tag|>",)
    opening = "<|python_tag|>"
    is_open = True


def choose(template: str) -> type[Parser]:
    """The format that a template speaks; Hermes' for one that says nothing of tools, which is told of it then."""
    known = (MistralCalls, HermesCalls, PythonicCalls, Llama3Calls)
    return next((each for each in known if any(mark in template for mark in each.marks)), HermesCalls)
