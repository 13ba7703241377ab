import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.infer.tools.base import whole_calls
from mainspring.infer.tools.json_calls import HermesCalls, Llama3Calls, MistralCalls
from mainspring.infer.tools.plan import choose
from mainspring.infer.tools.pythonic import PythonicCalls

NAMES = ("get_weather", "math.add", "now")
BY_NAME = {
    "hermes": HermesCalls,
    "llama3_json": Llama3Calls,
    "mistral": MistralCalls,
    "pythonic": PythonicCalls,
}
WEATHER = {"city": 'Oslo "north" {\u00e9}', "days": [1, {"a": "]"}], "exact": True}
A = json.dumps({"name": "get_weather", "arguments": WEATHER}, ensure_ascii=False)
B = '{"name": "math.add", "parameters": {"x": 1}}'
C = '{"arguments": {"x": [2]}, "name": "now"}'
EXPECTED = [("get_weather", WEATHER), ("math.add", {"x": 1})]
LIST = '[get_weather(city=\'Oslo "north" {\u00e9}\', days=[1, {"a": "]"}], exact=true), math.add(x=1)]'


def read(name, text, sizes=()):
    """(text, calls as (name, arguments), their pieces) of a reply that comes in pieces of these sizes."""
    parser, shown, deltas = BY_NAME[name](NAMES), "", []
    sizes = list(sizes) or [len(text) or 1]
    while text:
        size = sizes[0] if len(sizes) == 1 else sizes.pop(0)
        parsed = parser.push(text[:size])
        text, shown = text[size:], shown + parsed.text
        deltas += parsed.tool_calls
    return shown + parser.flush(), [(call.name, call.arguments) for call in whole_calls(deltas)], deltas


def values(calls):
    return [(name, json.loads(arguments)) for name, arguments in calls]


WHOLE = [
    ("hermes", f"<tool_call>\n{A}\n</tool_call>\n<tool_call>\n{B}\n</tool_call>", ""),
    ("hermes", f"I look.\n<tool_call>{A}</tool_call><tool_call>{B}</tool_call> Done.", "I look. Done."),
    ("hermes", f"<tool_call>[{A}, {B}]", ""),
    ("llama3_json", f"{A}; {B}", ""),
    ("llama3_json", f"<|python_tag|>{A}\n{B}", ""),
    ("llama3_json", f'{{"type": "function", {A[1:]}, {B}', ""),
    ("mistral", f"[TOOL_CALLS] [{A}, {B}]", ""),
    ("mistral", f"Sure.[TOOL_CALLS]{A}[TOOL_CALLS]{B}", "Sure."),
    ("mistral", f'[TOOL_CALLS]get_weather[ARGS]{json.dumps(WEATHER)}[TOOL_CALLS]math.add[ARGS]{{"x": 1}}', ""),
    ("pythonic", LIST, ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "shown"), WHOLE)
@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_calls_are_read_however_the_text_is_cut(name, text, shown, size):
    found, calls, _ = read(name, text, [size])
    assert values(calls) == EXPECTED
    assert found == shown


TEXTS = [
    ("hermes", "No tool <b>is</b> needed: <tool_cal"),
    ("hermes", '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>'),
    ("hermes", '<tool_call>{"name": "now", "arguments": 3}</tool_call>'),
    ("hermes", "<tool_call>not json</tool_call> and on"),
    ("hermes", "<tool_call></tool_call>"),
    ("hermes", '<tool_call>{"name": "no'),
    ("hermes", '<tool_call>{"city": "Oslo"}'),
    ("llama3_json", '{"answer": 42, "name": "now"}'),
    ("llama3_json", '{"name": "Al", "age": 3}'),
    ("llama3_json", "[1] says so; {"),
    ("llama3_json", "Plain. " + A),
    ("mistral", "[TOOL] [TOOL_CALLS] none"),
    ("mistral", '[TOOL_CALLS]unknown[ARGS]{"x": 1}'),
    ("mistral", "[TOOL_CALLS] [3]"),
    ("pythonic", "[1] and [get_weather(city=1)]"),
    ("pythonic", "[get_weather(city=other)] more"),
    ("pythonic", "[unknown(x=1)]"),
    ("pythonic", "[get_weather(1)]"),
    ("pythonic", "[get_weather(city='O"),
    ("pythonic", "[get_weather"),
]


@pytest.mark.parametrize(("name", "text"), TEXTS)
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_what_is_no_call_of_a_tool_comes_out_as_text_and_nothing_is_lost(name, text, size):
    found, calls, _ = read(name, text, [size])
    assert calls == []
    assert found == text


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(BY_NAME)),
    st.lists(
        st.sampled_from(["<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<|python_tag|>", "[", "]", ",", A, B, C,
                         "{", "}", '"', "\\", " ", "\n", "now", "(", ")", "x=1", '{"name": "now"', "[ARGS]", "text"]),
        max_size=8,
    ),
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
)  # fmt: skip
def test_any_reply_gives_the_same_whole_and_in_pieces(name, parts, sizes):
    text = "".join(parts)
    whole, pieces = read(name, text), read(name, text, sizes)
    assert whole[:2] == pieces[:2]
    if not whole[1]:
        assert whole[0] == text


def test_arguments_stream_as_they_come_and_the_first_piece_names_the_call():
    _, calls, deltas = read("hermes", f"<tool_call>{A}</tool_call>", [5])
    assert len(deltas) > 10
    assert deltas[0].id.startswith("call_")
    assert [delta.name for delta in deltas] == ["get_weather"] + [""] * (len(deltas) - 1)
    assert (
        "".join(delta.arguments for delta in deltas) == calls[0][1] == json.dumps(WEATHER, ensure_ascii=False)
    )


def test_a_call_that_is_cut_off_keeps_what_there_is_of_its_arguments():
    assert read("hermes", '<tool_call>{"name": "now", "arguments": {"a": "b')[1] == [("now", '{"a": "b')]


def test_keys_in_another_order_and_arguments_in_a_string_are_taken():
    assert values(read("hermes", f"<tool_call>{C}</tool_call>")[1]) == [("now", {"x": [2]})]
    text = '<tool_call>{"name": "now", "arguments": "{\\"x\\": 1}"}</tool_call>'
    assert values(read("hermes", text)[1]) == [("now", {"x": 1})]


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("... <tool_call> ... </tool_call>", "hermes"),
        ("{{ '[TOOL_CALLS] [' }}", "mistral"),
        ('{"name": function name, "parameters": ...} <|python_tag|>', "llama3_json"),
        ("[func_name1(params_name1=params_value1)]", "pythonic"),
        ("<|im_start|>", "hermes"),
    ],
)
def test_the_format_is_told_from_the_template(template, name):
    assert choose(template) is BY_NAME[name]
