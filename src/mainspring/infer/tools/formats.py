"""The published formats, and which of them a model's template speaks.

Hermes (Qwen, and whoever has none of his own): <tool_call>{"name": ..., "arguments": {...}}</tool_call>
Llama 3: {"name": ..., "parameters": {...}}, the whole reply, perhaps behind <|python_tag|>, several with ; between
Mistral: [TOOL_CALLS] [{"name": ..., "arguments": {...}}, ...], or [TOOL_CALLS]name[ARGS]{...}
pythonic (Llama 4 and others): [name(key="value"), ...], the whole reply
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from mainspring.infer.tools.base import Parser
from mainspring.infer.tools.json_calls import JsonCalls
from mainspring.infer.tools.pythonic import PythonicCalls


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """`marks` in a template tell that it speaks the format; `parser` makes a reader of calls of the named tools.

    `special` are special tokens that the reader must see, which decoding leaves out otherwise.
    """

    marks: tuple[str, ...]
    parser: Callable[[Collection[str]], Parser]
    special: tuple[str, ...] = ()


HERMES = Format(
    marks=("<tool_call>",),
    parser=lambda names: JsonCalls(names, "<tool_call>", "</tool_call>"),
    special=("<tool_call>", "</tool_call>"),
)
MISTRAL = Format(
    marks=("[TOOL_CALLS]",),
    parser=lambda names: JsonCalls(names, "[TOOL_CALLS]", "]", is_named=True),
    special=("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
)
PYTHONIC = Format(marks=("func_name1(", "<|python_start|>"), parser=PythonicCalls)
LLAMA3_JSON = Format(
    marks=("<|python_tag|>", '"parameters"', "ipython"),
    parser=lambda names: JsonCalls(names, "<|python_tag|>", is_open=True),
    special=("<|python_tag|>",),
)


def choose(template: str) -> Format:
    """The format that a template speaks; Hermes' for one that says nothing of tools, which is told of it then."""
    known = (MISTRAL, HERMES, PYTHONIC, LLAMA3_JSON)
    return next((each for each in known if any(mark in template for mark in each.marks)), HERMES)
