import pytest

from mainspring.data.feeds.tables.messages import messages, shapes
from mainspring.errors import DocumentError

OPENAI = {
    "messages": [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A"},
    ]
}
SHAREGPT = {
    "conversations": [
        {"from": "system", "value": "S"},
        {"from": "human", "value": "Q"},
        {"from": "gpt", "value": "A"},
    ]
}
ALPACA = {"system": "S", "instruction": "Q", "input": "", "output": "A"}
EXPECTED = OPENAI["messages"]


@pytest.mark.parametrize(
    ("values", "shape"), [(OPENAI, "openai"), (SHAREGPT, "sharegpt"), (ALPACA, "alpaca")]
)
def test_each_shape_is_recognised_and_becomes_the_same_messages(values, shape):
    assert shapes(values, "") == {shape}
    assert messages(values, shape, "") == EXPECTED


def test_a_field_of_another_name_is_looked_at_alone():
    values = {"talk": OPENAI["messages"], **ALPACA}
    assert shapes(values, "talk") == {"openai"}
    assert messages(values, "openai", "talk") == EXPECTED


def test_what_may_be_more_than_one_shape_or_none_is_not_decided():
    assert shapes({**OPENAI, **SHAREGPT}, "") == {"openai", "sharegpt"}
    both = [{"role": "user", "from": "human", "content": "x", "value": "y"}]
    assert shapes({"m": both}, "m") == {"openai", "sharegpt"}
    for values in (
        {},
        {"messages": []},
        {"messages": "text"},
        {"messages": [{"role": "user"}]},
        {"instruction": "x"},
    ):
        assert shapes(values, "") == set()


def test_the_input_of_alpaca_stands_behind_the_instruction():
    asked = messages({"instruction": "Sum up.", "input": "Long text.", "output": "Short."}, "alpaca", "")
    assert asked[0] == {"role": "user", "content": "Sum up.\n\nLong text."}
    assert (
        messages({"instruction": "Hi.", "input": None, "output": "Ho."}, "alpaca", "")[0]["content"] == "Hi."
    )


def test_parts_of_the_type_text_are_joined():
    content = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    assert (
        messages({"messages": [{"role": "user", "content": content}]}, "openai", "")[0]["content"]
        == "one two"
    )


@pytest.mark.parametrize(
    ("values", "shape", "told"),
    [
        ({"messages": [{"role": "tool", "content": "x"}]}, "openai", "message 1 is by 'tool'"),
        ({"messages": [EXPECTED[0], {"role": "user"}]}, "openai", "message 2 has no 'role' and 'content'"),
        ({"messages": [{"role": "user", "content": None}]}, "openai", "something else than text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "openai",
            "something else than text",
        ),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]}, "openai", "'tool_calls'"),
        ({"messages": [{"role": "assistant", "content": "x", "weight": 0}]}, "openai", "'weight'"),
        ({"messages": []}, "openai", "no list of messages"),
        ({"conversations": "x"}, "sharegpt", "no list of messages"),
        ({"conversations": [{"from": "bing", "value": "x"}]}, "sharegpt", "by 'bing'"),
        ({"instruction": "x"}, "alpaca", "'output' is missing"),
        ({"instruction": "x", "input": 7, "output": "y"}, "alpaca", "'input' is no text"),
    ],
)
def test_what_is_not_read_is_told_and_never_left_out_in_silence(values, shape, told):
    with pytest.raises(DocumentError, match=told):
        messages(values, shape, "")
