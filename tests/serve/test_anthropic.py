"""Anthropic's dialect, spoken by its official client to a real server."""

import httpx2
import pytest
from starlette.testclient import TestClient

from fakes_model import House, ScriptedModel, Shelf
from mainspring.schema import Constraint, Message, ToolCall

anthropic = pytest.importorskip(
    "anthropic", reason="the official client is not installed", exc_type=ImportError
)

SKY = [{"role": "user", "content": "What of the sky?"}]
TOOL = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}


@pytest.fixture
def claude(spoken_url):
    with anthropic.Anthropic(base_url=spoken_url, api_key="none", max_retries=0) as client:
        yield client


def run_of(house, model="gpt"):
    return house.shelf.models[model].runs[-1]


def test_a_whole_message_says_why_it_ended_and_what_it_cost(claude, spoken):
    done = claude.messages.create(
        model="gpt",
        max_tokens=9,
        messages=SKY,
        system="Be brief.",
        extra_body={"temperature": 0.5, "top_k": 3, "top_p": 0.9},
    )
    assert [(block.type, block.text) for block in done.content] == [("text", "The sky is blue.")]
    assert (done.stop_reason, done.stop_sequence) == ("end_turn", None)
    read = len("<system>Be brief.<user>What of the sky?")
    assert (done.usage.input_tokens, done.usage.cache_read_input_tokens) == (read - 1, 1)
    assert done.usage.output_tokens == 4
    sampling = run_of(spoken).sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.top_k, sampling.top_p) == (9, 0.5, 3, 0.9)
    assert claude.messages.create(model="gpt", max_tokens=2, messages=SKY).stop_reason == "max_tokens"


def test_a_stop_sequence_is_named(claude):
    done = claude.messages.create(model="gpt", max_tokens=9, messages=SKY, stop_sequences=["blue"])
    assert (done.content[0].text, done.stop_reason, done.stop_sequence) == (
        "The sky is",
        "stop_sequence",
        "blue",
    )


def test_a_stream_accumulates_to_the_whole_message(claude):
    with claude.messages.stream(model="gpt", max_tokens=9, messages=SKY) as stream:
        kinds = [event.type for event in stream]
        done = stream.get_final_message()
    assert done.content[0].text == "The sky is blue."
    assert (done.stop_reason, done.usage.output_tokens) == ("end_turn", 4)
    assert kinds[0] == "message_start"
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


@pytest.mark.parametrize("is_stream", [True, False])
def test_tools_are_called_whole_and_in_pieces(claude, spoken, is_stream):
    more = {"model": "caller", "max_tokens": 99, "messages": SKY, "tools": [TOOL]}
    if is_stream:
        with claude.messages.stream(**more) as stream:
            done = stream.get_final_message()
    else:
        done = claude.messages.create(**more)
    assert done.stop_reason == "tool_use"
    assert [block.type for block in done.content] == ["text", "tool_use", "tool_use"]
    assert done.content[0].text == "Let me look."
    assert [(block.id, block.name, block.input) for block in done.content[1:]] == [
        ("call_1", "look", {"at": "sky"}), ("call_2", "look", {"at": "sea"}),
    ]  # fmt: skip
    assert run_of(spoken, "caller").ask.tools[0].parameters == {"type": "object"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [({"type": "any"}, "required"), ({"type": "tool", "name": "look"}, "look"), ({"type": "none"}, "none")],
)
def test_a_choice_of_tools_reaches_the_model(claude, spoken, choice, expected):
    choice = {**choice, "disable_parallel_tool_use": True} if choice["type"] != "none" else choice
    claude.messages.create(model="caller", max_tokens=9, messages=SKY, tools=[TOOL], tool_choice=choice)
    ask = run_of(spoken, "caller").ask
    assert (ask.tool_choice, ask.parallel_tool_calls) == (expected, expected == "none")


def test_a_schema_for_the_output_reaches_the_model(claude, spoken):
    form = {"type": "json_schema", "schema": {"type": "object"}}
    claude.messages.create(model="gpt", max_tokens=9, messages=SKY, output_config={"format": form})
    assert run_of(spoken).ask.constraint == Constraint(kind="json_schema", value={"type": "object"})


def test_turns_of_one_role_are_one_and_results_of_tools_come_back(spoken, monkeypatch):
    monkeypatch.setattr("mainspring.chat.check", lambda messages, **_: None)
    messages = [
        {"role": "user", "content": "One."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Two.", "cache_control": {"type": "ephemeral"}}],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": "sky"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "dark", "is_error": True},
                {"type": "text", "text": "And?"},
            ],
        },
    ]
    body = {"model": "gpt", "max_tokens": 5, "messages": messages, "system": [{"type": "text", "text": "S"}]}
    door = TestClient(spoken.app, base_url="http://127.0.0.1")
    assert door.post("/v1/messages", json=body).status_code == 200
    assert spoken.shelf.models["gpt"].asked[-1] == (
        Message("system", "S"),
        Message("user", "One.\n\nTwo."),
        Message("assistant", "I look.", (ToolCall(id="call_1", name="look", arguments='{"at":"sky"}'),)),
        Message("tool", "Error: dark", tool_call="call_1"),
        Message("user", "And?"),
    )


def test_calls_in_a_turn_of_their_own_belong_to_the_turn_before(spoken, monkeypatch):
    monkeypatch.setattr("mainspring.chat.check", lambda messages, **_: None)
    uses = [{"type": "tool_use", "id": name, "name": "look", "input": {}} for name in ("a", "b")]
    turns = [uses[:1], "I look.", uses[1:]]
    messages = [*SKY, *({"role": "assistant", "content": content} for content in turns)]
    door = TestClient(spoken.app, base_url="http://127.0.0.1")
    body = {"model": "gpt", "max_tokens": 5, "messages": messages}
    assert door.post("/v1/messages", json=body).status_code == 200
    calls = tuple(ToolCall(id=name, name="look", arguments="{}") for name in ("a", "b"))
    assert spoken.shelf.models["gpt"].asked[-1][1:] == (Message("assistant", "I look.", calls),)


def test_a_reply_goes_on_with_what_the_assistant_has_begun(claude, spoken):
    claude.messages.create(
        model="gpt", max_tokens=9, messages=[*SKY, {"role": "assistant", "content": "The"}]
    )
    assert run_of(spoken).ask.go_on
    assert spoken.shelf.models["gpt"].asked[-1][-1] == Message("assistant", "The")
    claude.messages.create(model="gpt", max_tokens=9, messages=SKY)
    assert not run_of(spoken).ask.go_on


def test_tokens_are_counted_with_the_tools(claude):
    plain = claude.messages.count_tokens(model="gpt", messages=SKY)
    assert plain.input_tokens == len("<user>What of the sky?")
    assert (
        claude.messages.count_tokens(model="gpt", messages=SKY, tools=[TOOL]).input_tokens
        > plain.input_tokens
    )


def test_errors_come_in_the_dialect_s_own_shape(claude, spoken_url, tmp_path):
    with pytest.raises(anthropic.NotFoundError, match="no model 'x'"):
        claude.messages.create(model="x", max_tokens=5, messages=SKY)
    for change, words in [
        ({"temperature": 1.5}, "`temperature` is 1.5"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "`thinking.type`"),
        ({"messages": []}, "`messages`"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "`tools\\[0\\]"),
        ({"tool_choice": {"type": "tool", "name": "x"}}, "`tool_choice` is 'x'"),
        ({"stop_sequences": [""]}, "`stop_sequences`"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, 'is "image"'),
        ({"messages": [{"role": "assistant", "content": "The"}]}, "no assistant's message at the end"),
    ]:
        with pytest.raises(anthropic.BadRequestError, match=words) as raised:
            claude.messages.create(model="gpt", max_tokens=5, messages=SKY, extra_body=change)
        assert raised.value.body["type"] == "error"
        assert raised.value.body["error"]["type"] == "invalid_request_error"
    raw = httpx2.post(f"{spoken_url}/v1/messages", content=b"{")
    assert raw.json()["error"]["type"] == "invalid_request_error"
    house = House(tmp_path / "locked", Shelf([ScriptedModel("plain")]), key="right")
    door = TestClient(house.app)
    body = {"model": "plain", "max_tokens": 5, "messages": SKY}
    assert door.post("/v1/messages", json=body).json()["error"]["type"] == "authentication_error"
    assert door.post("/v1/messages", json=body, headers={"x-api-key": "right"}).status_code == 200
    house.close()


def test_a_failure_in_the_middle_of_a_stream_ends_it_with_an_error(claude):
    with pytest.raises(anthropic.APIStatusError, match="fell over"):
        list(claude.messages.create(model="broken", max_tokens=9, messages=SKY, stream=True))


def test_models_are_listed_for_this_dialect_too(claude):
    assert "gpt-4o" in [model.id for model in claude.models.list()]
    assert claude.models.retrieve("gpt").display_name == "gpt"
