"""All that a chat can ask of a plain model, spoken by the official client to a real server."""

import httpx2
import openai
import pytest
from starlette.testclient import TestClient

from mainspring.schema import Constraint, Message, ToolCall

SKY = [{"role": "user", "content": "What of the sky?"}]
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": True},
}


def run_of(house, model="gpt"):
    return house.shelf.models[model].runs[-1]


def test_several_replies_come_whole_with_the_prompt_counted_once(ai):
    done = ai.chat.completions.create(model="gpt", messages=SKY, n=3)
    assert [choice.index for choice in done.choices] == [0, 1, 2]
    assert [choice.message.content for choice in done.choices] == [
        "The sky is blue.", "The sky is blue. 1", "The sky is blue. 2",
    ]  # fmt: skip
    assert done.usage.completion_tokens == 4 + 5 + 5
    assert done.usage.prompt_tokens == len("<user>What of the sky?")
    assert done.usage.prompt_tokens_details.cached_tokens == 1


def test_several_replies_come_through_one_stream(ai):
    stream = ai.chat.completions.create(
        model="gpt", messages=SKY, n=2, stream=True, stream_options={"include_usage": True}
    )
    texts, ends, usage = {0: "", 1: ""}, {}, None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends[choice.index] = choice.finish_reason
    assert texts == {0: "The sky is blue.", 1: "The sky is blue. 1"}
    assert ends == {0: "stop", 1: "stop"}
    assert usage.completion_tokens == 9


@pytest.mark.parametrize("dialect", ["chat", "completions", "responses"])
def test_pieces_of_a_stream_are_padded_where_their_length_is_to_be_hidden(ai, dialect):
    ask = {
        "chat": lambda **more: ai.chat.completions.create(model="gpt", messages=SKY, **more),
        "completions": lambda **more: ai.completions.create(model="gpt", prompt="The", **more),
        "responses": lambda **more: ai.responses.create(model="gpt", input="The", **more),
    }[dialect]
    padded = {"stream_options": {"include_obfuscation": True}}
    for more, is_there in (({}, False), (padded, True)):
        pieces = [each.to_dict() for each in ask(stream=True, **more)]
        pieces = [each for each in pieces if "choices" in each or each["type"].endswith(".delta")]
        assert pieces
        assert all(("obfuscation" in each) == is_there for each in pieces)


def test_logprobs_come_with_alternatives_whole_and_streamed(ai):
    more = {"model": "gpt", "messages": SKY, "logprobs": True, "top_logprobs": 2}
    whole = ai.chat.completions.create(**more).choices[0].logprobs.content
    assert [one.token for one in whole] == ["The", " sky", " is", " blue."]
    assert (whole[0].logprob, bytes(whole[0].bytes)) == (-0.5, b"The")
    assert [one.token for one in whole[1].top_logprobs] == [" sky", "alt1"]
    chunks = ai.chat.completions.create(**more, stream=True)
    streamed = [
        one
        for chunk in chunks
        for one in (chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else ())
    ]
    assert streamed == whole
    bare = ai.chat.completions.create(model="gpt", messages=SKY, logprobs=True)
    assert bare.choices[0].logprobs.content[0].top_logprobs == []


def test_prompt_logprobs_come_in_the_shape_of_vllm(ai):
    done = ai.chat.completions.create(model="gpt", messages=SKY, extra_body={"prompt_logprobs": 1})
    rows = done.model_extra["prompt_logprobs"]
    assert rows[0] is None
    assert rows[1] == {str(ord("u")): {"logprob": -2.0, "rank": 1, "decoded_token": "u"}}


def test_tool_calls_come_whole_and_their_results_go_back(ai, spoken):
    done = ai.chat.completions.create(model="caller", messages=SKY, tools=[TOOL])
    choice = done.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert [(call.id, call.function.arguments) for call in choice.message.tool_calls] == [
        ("call_1", '{"at": "sky"}'), ("call_2", '{"at": "sea"}'),
    ]  # fmt: skip
    ask = run_of(spoken, "caller").ask
    assert (ask.tools[0].name, ask.tools[0].description) == ("look", "Looks.")
    assert (ask.tool_choice, ask.parallel_tool_calls) == ("auto", True)


def test_tool_calls_are_streamed_in_pieces(ai):
    calls: dict[int, list[str]] = {}
    for chunk in ai.chat.completions.create(model="caller", messages=SKY, tools=[TOOL], stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            calls.setdefault(call.index, []).append(call.function.arguments)
            assert (call.id is None) == (call.function.name is None) == (len(calls[call.index]) > 1)
    assert ["".join(pieces) for pieces in calls.values()] == ['{"at": "sky"}', '{"at": "sea"}']
    assert all(len(pieces) == 2 for pieces in calls.values())
    assert chunk.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "function": {"name": "look"}}, "look"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "look"}}],
                },
            },
            "required",
        ),
    ],
)
def test_a_choice_of_tools_reaches_the_model(ai, spoken, choice, expected):
    other = {"type": "function", "function": {"name": "other"}}
    ai.chat.completions.create(
        model="caller", messages=SKY, tools=[TOOL, other], tool_choice=choice, parallel_tool_calls=False
    )
    ask = run_of(spoken, "caller").ask
    assert (ask.tool_choice, ask.parallel_tool_calls) == (expected, False)
    is_limited = isinstance(choice, dict) and choice["type"] == "allowed_tools"
    assert [tool.name for tool in ask.tools] == (["look"] if is_limited else ["look", "other"])


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"response_format": {"type": "json_object"}}, Constraint(kind="json_object")),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {"type": "array"}},
                }
            },
            Constraint(kind="json_schema", value={"type": "array"}),
        ),
        ({"guided_json": {"type": "object"}}, Constraint(kind="json_schema", value={"type": "object"})),
        ({"guided_json": '{"type": "object"}'}, Constraint(kind="json_schema", value={"type": "object"})),
        ({"guided_regex": "a+"}, Constraint(kind="regex", value="a+")),
        ({"guided_choice": ["a", "b"]}, Constraint(kind="choice", value=["a", "b"])),
        ({"guided_grammar": "start: A"}, Constraint(kind="lark", value="start: A")),
        ({"structured_outputs": {"regex": "a"}}, Constraint(kind="regex", value="a")),
        ({"response_format": {"type": "text"}}, None),
    ],
)
def test_a_constraint_reaches_the_model(ai, spoken, fields, constraint):
    ai.chat.completions.create(model="gpt", messages=SKY, extra_body=fields)
    assert run_of(spoken).ask.constraint == constraint


def test_a_schema_that_cannot_be_compiled_is_refused(ai):
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "thing"}}}
    with pytest.raises(openai.BadRequestError, match="unknown type 'thing'"):
        ai.chat.completions.create(model="gpt", messages=SKY, response_format=form)


def test_every_sampling_field_reaches_the_model(ai, spoken):
    ai.chat.completions.create(
        model="gpt", messages=SKY, temperature=0.5, top_p=0.9, presence_penalty=1, frequency_penalty=-1, seed=-3,
        logit_bias={"7": -100, "8": 0}, stop=["x", "y"], max_completion_tokens=9, n=2,
        extra_body={
            "top_k": -1, "min_p": 0.1, "typical_p": 0.8, "repetition_penalty": 1.2, "min_tokens": 2,
            "ignore_eos": True, "stop_token_ids": [5], "best_of": 3, "priority": 4, "cache_salt": "s",
            "deadline_s": 5,
        },
    )  # fmt: skip
    sampling, ask = run_of(spoken).sampling, run_of(spoken).ask
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.9, -3)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (1, -1)
    assert (sampling.logit_bias, sampling.stop, sampling.max_tokens) == ({7: -100}, ("x", "y"), 9)
    assert (sampling.top_k, sampling.min_p, sampling.typical_p, sampling.repetition_penalty) == (
        0,
        0.1,
        0.8,
        1.2,
    )
    assert (sampling.min_tokens, sampling.ignore_end, sampling.stop_ids) == (2, True, (5,))
    assert (ask.n, ask.best_of, ask.priority, ask.salt, ask.deadline_s) == (2, 3, 4, "s", 5)
    assert ask.tenant == "local"
    ai.chat.completions.create(model="gpt", messages=SKY, n=4, extra_body={"use_beam_search": True})
    assert (run_of(spoken).ask.beams, run_of(spoken).ask.best_of) == (4, 1)


def test_the_history_of_calls_and_results_reaches_the_model(spoken, monkeypatch):
    monkeypatch.setattr("mainspring.chat.check", lambda messages, **_: None)
    history = [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        *SKY,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "blue"},
    ]
    door = TestClient(spoken.app, base_url="http://127.0.0.1")
    assert door.post("/v1/chat/completions", json={"model": "gpt", "messages": history}).status_code == 200
    assert spoken.shelf.models["gpt"].asked[-1] == (
        Message("system", "Be brief.\n\nBe kind."),
        Message("user", "What of the sky?"),
        Message("assistant", "", tool_calls=(ToolCall(id="call_1", name="look", arguments="{}"),)),
        Message("tool", "blue", tool_call="call_1"),
    )


def test_instructions_alone_are_what_is_asked(ai, spoken):
    ai.chat.completions.create(model="gpt", messages=[{"role": "developer", "content": "Say something."}])
    assert spoken.shelf.models["gpt"].asked[-1] == (Message("user", "Say something."),)


def test_a_limit_of_no_tokens_gives_an_empty_reply(ai):
    done = ai.chat.completions.create(model="gpt", messages=SKY, max_tokens=0)
    assert (done.choices[0].message.content, done.choices[0].finish_reason) == ("", "length")
    assert done.usage.completion_tokens == 0


def test_a_score_of_moderation_says_that_there_is_none(ai):
    done = ai.chat.completions.create(model="gpt", messages=SKY, moderation={"model": "m"})
    assert done.moderation.output.code == "no_moderation_model"
    *_, last = ai.chat.completions.create(model="gpt", messages=SKY, moderation={"model": "m"}, stream=True)
    assert (last.choices, last.moderation.output.code) == ([], "no_moderation_model")


def test_the_end_of_a_stream_says_what_stopped_it(ai):
    *_, last = ai.chat.completions.create(model="gpt", messages=SKY, stop="is", stream=True)
    assert (last.choices[0].finish_reason, last.choices[0].model_extra["stop_reason"]) == ("stop", "is")


def test_an_alias_is_served_and_listed(ai, spoken):
    done = ai.chat.completions.create(model="gpt-4o", messages=SKY)
    assert done.model == "gpt-4o"
    assert run_of(spoken)
    assert "gpt-4o" in [model.id for model in ai.models.list()]
    assert ai.models.retrieve("gpt-4o").id == "gpt-4o"


def test_a_prompt_over_the_context_is_refused_with_both_numbers(ai):
    with pytest.raises(openai.BadRequestError, match=r"5,006 tokens.*4,000"):
        ai.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "x" * 5000}])


def test_a_stream_that_is_silent_is_kept_alive(spoken_url, spoken, monkeypatch):
    monkeypatch.setattr("mainspring.serve.sse.KEEP_ALIVE_S", 0.01)
    spoken.shelf.models["gpt"].step_s = 0.3
    body = {"model": "gpt", "messages": SKY, "stream": True}
    text = httpx2.post(f"{spoken_url}/v1/chat/completions", json=body).text
    assert text.count(": keep-alive\n\n") > 5
    assert text.endswith("data: [DONE]\n\n")


def test_reranked_texts_come_the_best_first(spoken_url):
    body = {"model": "overlap", "query": "blue sky", "documents": ["a red sea", {"text": "the blue sky"}]}
    done = httpx2.post(f"{spoken_url}/v1/rerank", json={**body, "return_documents": True}).json()
    assert [row["index"] for row in done["results"]] == [1, 0]
    assert done["results"][0] == {"index": 1, "relevance_score": 1.0, "document": {"text": "the blue sky"}}
    assert len(httpx2.post(f"{spoken_url}/v2/rerank", json={**body, "top_n": 1}).json()["results"]) == 1


def test_embeddings_can_be_shortened_and_asked_for_by_ids(ai):
    text = ai.embeddings.create(model="bytes", input="abc", encoding_format="float").data[0].embedding
    ids = ai.embeddings.create(model="bytes", input=list(b"abc"), encoding_format="float").data[0].embedding
    assert ids == text
    short = ai.embeddings.create(model="bytes", input=[list(b"abc")], dimensions=2, encoding_format="float")
    assert len(short.data[0].embedding) == 2
    assert sum(x * x for x in short.data[0].embedding) == pytest.approx(1, abs=1e-6)


def test_messages_of_any_order_reach_the_model_and_a_reply_may_go_on(ai, spoken):
    turns = [{"role": "assistant", "content": "Hello!"}, *SKY, *SKY, {"role": "assistant", "content": "The"}]
    ai.chat.completions.create(model="gpt", messages=turns)
    assert [message.role for message in spoken.shelf.models["gpt"].asked[-1]] == [
        "assistant", "user", "user", "assistant",
    ]  # fmt: skip
    assert not run_of(spoken).ask.go_on
    going = {"continue_final_message": True, "add_generation_prompt": False}
    ai.chat.completions.create(model="gpt", messages=turns, extra_body=going)
    assert run_of(spoken).ask.go_on
    with pytest.raises(openai.BadRequestError, match="no assistant's message at the end"):
        ai.chat.completions.create(model="gpt", messages=SKY, extra_body={"continue_final_message": True})
