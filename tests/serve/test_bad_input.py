"""Whatever is wrong with a request is said in one clear message, in OpenAI's shape."""

import openai
import pytest
from starlette.testclient import TestClient

from fakes_model import House, ScriptedModel, Shelf
from mainspring.errors import DeadlineError
from mainspring.serve.limits import Limits

USER = {"role": "user", "content": "hi"}
CHAT = {"model": "plain", "messages": [USER]}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CHOICE = {"type": "function", "function": {"name": "other"}}
AUTO = {"type": "function", "function": {"name": "auto"}}


@pytest.fixture
def door(house):
    return TestClient(house.app, base_url="http://127.0.0.1")


def fault(answer, status):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    ("change", "param", "words"),
    [
        ({"max_tokens": -1}, "max_tokens", "`max_tokens` is -1: expected `int` >= 0"),
        ({"max_completion_tokens": -1}, "max_completion_tokens", "is -1"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "mean the same"),
        ({"max_tokens": "5"}, "max_tokens", "expected `int"),
        ({"max_tokens": True}, "max_tokens", "expected `int"),
        ({"temperature": 2.1}, "temperature", "is 2.1: expected `float` <= 2.0"),
        ({"temperature": -0.1}, "temperature", ">= 0"),
        ({"top_p": 0}, "top_p", "> 0"),
        ({"top_p": 1.5}, "top_p", "<= 1"),
        ({"seed": 1.5}, "seed", "expected `int"),
        ({"seed": 2**64}, "seed", "is 18446744073709551616"),
        ({"stop": ""}, "stop", "none of them empty"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "one to 4"),
        ({"stop": 5}, "stop", "is 5"),
        ({"n": 0}, "n", "`n` is 0: expected `int` >= 1"),
        ({"n": 2}, None, "does not do more than one reply"),
        ({"n": True}, "n", "expected `int"),
        ({"stream": "yes"}, "stream", "expected `bool`"),
        ({"stream_options": {"usage": True}}, "stream_options.usage", "would be ignored"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "is missing"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]", "tools[0]"),
        ({"tools": [TOOL]}, None, "does not do tools"),
        ({"tools": [TOOL, TOOL]}, "tools", "names 'look' twice"),
        ({"tools": [AUTO]}, "tools[0].function.name", 'is "auto": expected `str` matching'),
        ({"tools": [TOOL], "tool_choice": AUTO}, "tool_choice.function.name", 'is "auto": expected `str`'),
        ({"tool_choice": "required"}, "tool_choice", "holds none"),
        ({"tools": [TOOL], "tool_choice": CHOICE}, "tool_choice", "'other', and `tools` holds look"),
        ({"functions": [TOOL["function"]]}, "functions", "old form of `tools`"),
        ({"logprobs": True}, None, "does not do log-probabilities"),
        ({"logprobs": 1}, "logprobs", "expected `bool`"),
        ({"top_logprobs": 3}, "top_logprobs", "without `logprobs`"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "<= 20"),
        ({"frequency_penalty": 2.5}, "frequency_penalty", "<= 2"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "token ids"),
        ({"logit_bias": {"5": 101}}, "logit_bias", "<= 100"),
        ({"response_format": {"type": "json_object"}}, None, "does not do a constrained output"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "'xml'"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "is missing"),
        ({"guided_json": "{"}, "guided_json", "no JSON"),
        ({"guided_json": "[1]"}, "guided_json", "no object"),
        ({"guided_choice": []}, "guided_choice", "is empty"),
        ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_regex", "can match one"),
        ({"best_of": 1, "n": 2}, "best_of", "less than `n`"),
        ({"best_of": 2, "stream": True}, "best_of", "known at the end"),
        ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs", "have no place for it"),
        ({"min_tokens": 5, "max_tokens": 4}, "min_tokens", "more than `max_tokens`"),
        ({"modalities": ["text", "audio"]}, "modalities", 'only ["text"]'),
        (
            {"moderation": {"model": "m", "policy": {"input": {"mode": "block"}}}},
            "moderation.policy.input.mode",
            "'block'",
        ),
        ({"seeds": 1}, "seeds", "Did you mean `seed`?"),
        ({"temprature": 1}, "temprature", "Did you mean `temperature`?"),
        ({"model": 5}, "model", "expected `str`"),
        ({"model": None}, "model", "`model` is missing"),
        ({"messages": None}, "messages", "`messages` is missing"),
        ({"messages": "hi"}, "messages", "expected `array`"),
        ({"messages": []}, "messages", "at least one user message"),
        ({"messages": [5]}, "messages[0]", "expected `object`"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "`messages[0].content` is missing"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content", "is 1"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "is missing"),
        ({"messages": [{**USER, "nane": "Ann"}]}, "messages[0].nane", "`messages[0].nane` is not supported"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "messages[0].content[0]",
            "messages[0].content",
        ),
        ({"messages": [{"role": "bard", "content": "x"}]}, "messages", "role 'bard'; known roles are system"),
        ({"continue_final_message": True}, None, "does not do going on with a reply that has begun"),
        (
            {"messages": [{**USER, "role": "tool"}]},
            "messages",
            "where 'user' is due; answers of tools follow",
        ),
        ({"add_generation_prompt": False}, "add_generation_prompt", "are both False"),
        ({"messages": [{"role": "user", "content": "x" * 6000}]}, None, "6000 characters"),
    ],
)
def test_a_bad_chat_field_is_refused_by_name(door, change, param, words):
    error = fault(door.post("/v1/chat/completions", json={**CHAT, **change}), 400)
    assert words in error["message"]
    assert error["type"] == "invalid_request_error"
    if param is None or "[" not in param:
        assert error["param"] == param
    else:
        assert error["param"].startswith(param)


@pytest.mark.parametrize(
    "change",
    [
        {"user": "ann"},
        {"metadata": {"a": "b"}},
        {"store": False},
        {"n": 1},
        {"store": True},
        {"max_tokens": 5, "max_completion_tokens": 5},
        {"messages": [{**USER, "name": "Ann"}]},
        {"tools": [TOOL], "tool_choice": "none"},
        {"logit_bias": {"x": 0}},
        {
            "service_tier": "auto",
            "prediction": {"type": "content", "content": "x"},
            "reasoning_effort": "low",
        },
        {"tools": None},
        {"logit_bias": {}},
        {"presence_penalty": 0.0},
        {"response_format": {"type": "text"}},
        {"stop": None},
        {"stream_options": {"include_usage": True}},
    ],
)
def test_a_field_that_changes_nothing_is_accepted(door, change):
    assert door.post("/v1/chat/completions", json={**CHAT, **change}).status_code == 200


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'"x"', b"\xff\xfe", b'{"a": NaN}', b'{"a":1} x'])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings", "/feedback"])
def test_a_body_that_is_no_json_object_is_refused(door, path, content):
    error = fault(door.post(path, content=content), 400)
    assert error["code"] == "invalid_json"
    assert "JSON" in error["message"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '"NaN"'])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", '{"model": "plain", "messages": [{"role": "user", "content": "x"}]'),
        ("/v1/completions", '{"model": "plain", "prompt": "x"'),
        ("/v1/responses", '{"model": "plain", "input": "x"'),
        (
            "/v1/messages",
            '{"model": "plain", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]',
        ),
    ],
)
def test_a_temperature_that_is_no_number_is_refused(door, path, body, number):
    answer = door.post(path, content=f'{body}, "temperature": {number}}}')
    assert answer.status_code == 400
    assert "temperature" in answer.text or "JSON" in answer.text


def test_a_body_that_is_too_large_is_refused(door, house):
    house.app.state.limits = Limits(body_bytes=1000)
    error = fault(door.post("/v1/chat/completions", json={**CHAT, "user": "x" * 1000}), 413)
    assert "1,000 bytes" in error["message"]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [1, "a"]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": [-1]}, "input[0]"),
        ({"input": 5}, "input"),
        ({"input": None}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 8}, "dimensions"),
        ({"input": ["a"] * 2049}, "input"),
    ],
)
def test_a_bad_embedding_field_is_refused_by_name(door, change, param):
    error = fault(door.post("/v1/embeddings", json={"model": "bytes", "input": "x", **change}), 400)
    assert error["param"] == param
    assert param in error["message"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(door, path):
    body = {**CHAT, "model": "gpt-9"} if "chat" in path else {"model": "gpt-9", "input": "x"}
    error = fault(door.post(path, json=body), 404)
    assert "'gpt-9'; known" in error["message"]
    assert error["code"] == "model_not_found"


def test_an_unknown_path_and_a_wrong_method_are_said_in_the_same_shape(door):
    assert fault(door.get("/v2/chat"), 404)["code"] == "unknown_url"
    answer = door.get("/v1/embeddings")
    assert "it takes POST" in fault(answer, 405)["message"]
    assert answer.headers["allow"] == "POST"
    fault(door.get("/static/nothing.js"), 404)


def test_a_failure_of_our_own_tells_the_client_nothing_of_its_inside(house):
    house.shelf.chat = lambda name, scope: {}["secret path"]
    door = TestClient(house.app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    error = fault(door.post("/v1/chat/completions", json=CHAT), 500)
    assert error["type"] == "server_error"
    assert "secret" not in error["message"]


def test_a_reply_that_comes_too_late_for_its_deadline_is_no_failure_of_ours(house):
    late = DeadlineError("The reply was not done within its deadline of 1 s.")
    house.shelf.models["late"] = ScriptedModel("late", error=late)
    door = TestClient(house.app, base_url="http://127.0.0.1")
    error = fault(door.post("/v1/chat/completions", json={**CHAT, "model": "late"}), 408)
    assert (error["type"], error["code"]) == ("timeout_error", "deadline_exceeded")


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/chat/completions", "/v1/embeddings", "/documents/x", "/feedback"]
)
@pytest.mark.parametrize("key", [None, "Bearer wrong", "Basic right", "Bearer "])
def test_without_the_key_nothing_is_served(tmp_path, path, key):
    house = House(tmp_path, Shelf([ScriptedModel("plain")]), key="right")
    door = TestClient(house.app)
    headers = {"authorization": key} if key else {}
    bodies_ = {
        "/v1/chat/completions": CHAT,
        "/v1/embeddings": {"model": "bytes", "input": "x"},
        "/feedback": {},
    }
    answer = (
        door.post(path, json=bodies_[path], headers=headers)
        if path in bodies_
        else door.get(path, headers=headers)
    )
    assert fault(answer, 401)["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert door.get("/v1/models", headers={"authorization": "Bearer right"}).status_code == 200
    house.close()


def test_the_official_client_recognizes_the_errors(client):
    with pytest.raises(openai.BadRequestError, match="max_tokens"):
        client.chat.completions.create(model="plain", messages=[USER], max_tokens=-1)
    with pytest.raises(openai.NotFoundError, match="known models are"):
        client.chat.completions.create(model="x", messages=[USER], stream=True)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "[::1"},
        {"origin": "http://evil.example"},
        {"origin": "http://[x"},
        {"origin": "null"},
    ],
)
def test_other_web_sites_cannot_use_a_server_without_a_key(door, headers):
    assert (
        fault(door.post("/v1/chat/completions", json=CHAT, headers=headers), 403)["code"] == "foreign_origin"
    )


def test_the_own_page_may_use_a_server_without_a_key(door):
    assert door.get("/v1/models", headers={"origin": "http://127.0.0.1"}).status_code == 200


def test_what_this_server_does_not_do_is_said_and_not_pretended(door):
    error = fault(door.delete("/v1/models/plain"), 403)
    assert (error["code"], "deletes none" in error["message"]) == ("model_not_deletable", True)
    fault(door.delete("/v1/models/nothing"), 404)
    error = fault(door.post("/v1/moderations", json={"input": "I like you."}), 404)
    assert "nothing was scored" in error["message"]
    assert door.put("/v1/chat/completions").headers["allow"] == "GET, HEAD, POST"
