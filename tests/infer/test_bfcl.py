"""Calls and tools of the Berkeley function-calling data: every format reads them, and all schemas hold."""

import json
import os
from pathlib import Path

import pytest

from fakes_bpe import make_tokenizer
from mainspring.infer.grammar import Grammars
from mainspring.infer.tools.base import whole_calls
from mainspring.infer.tools.json_calls import HermesCalls, Llama3Calls, MistralCalls
from mainspring.infer.tools.plan import calls_schema
from mainspring.infer.tools.pythonic import PythonicCalls
from mainspring.schema import Constraint, Tool

FOLDER = (
    Path(os.environ.get("MAINSPRING_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "bfcl"
)
TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}
pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.exists(), reason="the BFCL data does not stand beside the checkout"),
]


def to_schema(part):
    """Their types are Python's."""
    if isinstance(part, list):
        return [to_schema(each) for each in part]
    if not isinstance(part, dict):
        return part
    changed = {key: to_schema(value) for key, value in part.items() if key != "optional"}
    if isinstance(changed.get("type"), str):
        changed["type"] = TYPES.get(changed["type"], changed["type"])
        if changed["type"] is None:
            del changed["type"]
    return changed


def rows(name):
    questions = [json.loads(line) for line in (FOLDER / f"BFCL_v4_{name}.json").read_text().splitlines()]
    answers = (FOLDER / "possible_answer" / f"BFCL_v4_{name}.json").read_text().splitlines()
    for question, line in zip(questions, answers, strict=True):
        tools = [
            Tool(name=each["name"], parameters=to_schema(each["parameters"])) for each in question["function"]
        ]
        calls = []
        for wanted in json.loads(line)["ground_truth"]:
            ((tool, values),) = wanted.items()
            calls.append((tool, {key: options[0] for key, options in values.items() if options[0] != ""}))
        yield tools, calls


def written(calls):
    said = [json.dumps({"name": tool, "arguments": values}, ensure_ascii=False) for tool, values in calls]
    python = [
        f"{tool}({', '.join(f'{key}={value!r}' for key, value in values.items())})" for tool, values in calls
    ]
    return {
        HermesCalls: "\n".join(f"<tool_call>\n{each}\n</tool_call>" for each in said),
        MistralCalls: f"[TOOL_CALLS] [{', '.join(said)}]",
        Llama3Calls: "; ".join(each.replace('"arguments"', '"parameters"', 1) for each in said),
        PythonicCalls: f"[{', '.join(python)}]",
    }


@pytest.mark.parametrize("data", ["simple_python", "multiple"])
@pytest.mark.parametrize("format_", [HermesCalls, Llama3Calls, MistralCalls, PythonicCalls])
def test_every_right_answer_is_read_back_in_every_format(data, format_):
    for tools, wanted in rows(data):
        parser, calls = format_([tool.name for tool in tools]), []
        text = written(wanted)[format_]
        shown = ""
        for start in range(0, len(text), 4):
            parsed = parser.push(text[start : start + 4])
            calls += parsed.tool_calls
            shown += parsed.text
        shown += parser.flush()
        assert [(call.name, json.loads(call.arguments)) for call in whole_calls(calls)] == wanted
        assert shown == ""


def test_calls_of_all_tools_can_be_held_to_their_schemas():
    grammars = Grammars(make_tokenizer())
    num = sum(
        grammars.compile(Constraint(kind="json_schema", value=calls_schema(tools, several=True))) is not None
        for name in ("simple_python", "multiple")
        for tools, _ in rows(name)
    )
    assert num == 600
