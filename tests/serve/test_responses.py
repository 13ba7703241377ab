"""Responses, spoken by the official client to a real server."""

import json
import threading
import time

import httpx2
import openai
import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient

from fakes_model import House
from fakes_server import in_background
from mainspring.schema import Constraint, Delta, Message, Reply, ToolCall, ToolCallDelta, Usage
from mainspring.serve.responses import _cancel, _lose
from mainspring.serve.responses_told import Teller, closing

TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True}


class Answer(BaseModel):
    answer: int


def asked(house, model="gpt"):
    return house.shelf.models[model].asked[-1]


def wait_until(condition, timeout_s=5):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_a_response_is_kept_and_the_next_goes_on_from_it(ai, spoken):
    first = ai.responses.create(model="gpt", input="What of the sky?", instructions="Be brief.")
    assert (first.output_text, first.status) == ("The sky is blue.", "completed")
    assert first.usage.output_tokens == 4
    assert first.usage.input_tokens_details.cached_tokens == 1
    assert ai.responses.retrieve(first.id) == first
    second = ai.responses.create(input=[{"role": "user", "content": "And?"}], previous_response_id=first.id)
    assert (second.model, second.previous_response_id) == ("gpt", first.id)
    assert asked(spoken) == (  # instructions are not carried over
        Message("user", "What of the sky?"), Message("assistant", "The sky is blue."), Message("user", "And?"),
    )  # fmt: skip
    ai.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError, match="There is no response"):
        ai.responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError):
        ai.responses.create(input="x", previous_response_id=second.id)


def test_a_response_that_is_not_stored_is_not_kept(ai):
    done = ai.responses.create(model="gpt", input="x", store=False)
    with pytest.raises(openai.NotFoundError):
        ai.responses.retrieve(done.id)


def test_a_limit_makes_a_response_incomplete(ai):
    done = ai.responses.create(model="gpt", input="x", max_output_tokens=2)
    assert (done.status, done.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert done.output_text == "The sky"


def test_the_events_of_a_stream_are_numbered_and_say_what_is_kept(ai):
    events = list(ai.responses.create(model="gpt", input="x", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text == "The sky is blue."
    assert ai.responses.retrieve(events[-1].response.id) == events[-1].response
    again = list(ai.responses.retrieve(events[-1].response.id, stream=True, starting_after=1))
    assert again[0].sequence_number == 2
    assert again[-1].response == events[-1].response
    with pytest.raises(openai.BadRequestError, match="must be the number of an event"):
        ai.responses.retrieve(events[-1].response.id, stream=True, starting_after="9" * 5000)


@pytest.mark.parametrize("is_stream", [True, False])
def test_functions_are_called_and_their_results_go_back(ai, spoken, is_stream, monkeypatch):
    if is_stream:
        with ai.responses.stream(model="caller", input="x", tools=[TOOL]) as stream:
            pieces = [event for event in stream if event.type == "response.function_call_arguments.delta"]
            done = stream.get_final_response()
        assert len(pieces) == 4
    else:
        done = ai.responses.create(model="caller", input="x", tools=[TOOL])
    assert [item.type for item in done.output] == ["message", "function_call", "function_call"]
    assert [(item.call_id, item.arguments) for item in done.output[1:]] == [
        ("call_1", '{"at": "sky"}'), ("call_2", '{"at": "sea"}'),
    ]  # fmt: skip
    monkeypatch.setattr("mainspring.chat.check", lambda messages, **_: None)
    results = [{"type": "function_call_output", "call_id": "call_1", "output": "blue"}]
    ai.responses.create(model="gpt", input=results, previous_response_id=done.id)
    assert asked(spoken) == (
        Message("user", "x"),
        Message(
            "assistant",
            "Let me look.",
            (
                ToolCall(id="call_1", name="look", arguments='{"at": "sky"}'),
                ToolCall(id="call_2", name="look", arguments='{"at": "sea"}'),
            ),
        ),
        Message("tool", "blue", tool_call="call_1"),
    )


def test_a_format_reaches_the_model_and_is_parsed(ai, spoken):
    done = ai.responses.parse(model="gpt", input="x", text_format=Answer)
    assert done.output_parsed == Answer(answer=42)
    constraint = spoken.shelf.models["gpt"].runs[-1].ask.constraint
    assert constraint.value["properties"]["answer"]["type"] == "integer"
    ai.responses.create(model="gpt", input="x", text={"format": {"type": "json_object"}})
    assert spoken.shelf.models["gpt"].runs[-1].ask.constraint == Constraint(kind="json_object")


def test_logprobs_come_where_they_are_asked_for(ai):
    done = ai.responses.create(
        model="gpt", input="x", top_logprobs=2, include=["message.output_text.logprobs"]
    )
    rows = done.output[0].content[0].logprobs
    assert [row.token for row in rows] == ["The", " sky", " is", " blue."]
    assert rows[1].top_logprobs[1].token == "alt1"


def test_what_was_sent_is_listed_page_by_page(ai):
    given = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    done = ai.responses.create(model="gpt", input=given)
    items = list(ai.responses.input_items.list(done.id, limit=2, order="asc"))
    assert [item.content[0].text for item in items] == ["one", "two", "three"]
    newest = ai.responses.input_items.list(done.id, limit=1)
    assert newest.data[0].content[0].text == "three"
    assert ai.responses.input_items.list(done.id, limit=1, after="nothing").data == newest.data
    assert newest.has_more
    assert ai.responses.input_tokens.count(model="gpt", input="abc").input_tokens == len("<user>abc")


def test_a_response_in_the_background_is_asked_for_later_and_can_be_cancelled(ai, spoken):
    done = ai.responses.create(model="gpt", input="x", background=True)
    assert done.status == "in_progress"
    wait_until(lambda: ai.responses.retrieve(done.id).status == "completed")
    assert ai.responses.retrieve(done.id).output_text == "The sky is blue."
    assert ai.responses.cancel(done.id).status == "completed"
    slow = ai.responses.create(model="slow", input="x", background=True)
    assert ai.responses.cancel(slow.id).status == "cancelled"
    wait_until(spoken.shelf.models["slow"].runs[-1].done.is_set)
    assert spoken.shelf.models["slow"].runs[-1].is_cancelled
    assert ai.responses.retrieve(slow.id).status == "cancelled"
    events = list(ai.responses.create(model="gpt", input="x", background=True, stream=True))
    assert events[-1].response.output_text == "The sky is blue."
    with pytest.raises(openai.BadRequestError, match="only such can be cancelled"):
        ai.responses.cancel(ai.responses.create(model="gpt", input="x").id)


def test_a_response_is_not_lost_while_it_is_cancelled(ai, spoken, monkeypatch):
    slow = ai.responses.create(model="slow", input="x", background=True)
    change, seen = spoken.drawer.change, []

    def look_first(kind, identity, tenant, how):
        if how is _cancel:
            seen.append(ai.responses.retrieve(identity).status)
        return change(kind, identity, tenant, how)

    monkeypatch.setattr(spoken.drawer, "change", look_first)
    assert ai.responses.cancel(slow.id).status == "cancelled"
    assert seen == ["in_progress"]


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_what_a_client_has_ended_stays_so_though_the_model_was_just_done(ai, monkeypatch, end):
    tell, is_done, may_write, has_written = Teller.end, *(threading.Event() for _ in range(3))

    def late(teller):
        is_done.set()
        assert may_write.wait(5)
        yield from tell(teller)
        has_written.set()

    monkeypatch.setattr(Teller, "end", late)
    identity = ai.responses.create(model="gpt", input="x", background=True).id
    assert is_done.wait(5)
    getattr(ai.responses, end)(identity)
    may_write.set()
    assert has_written.wait(5)
    if end == "cancel":
        assert ai.responses.retrieve(identity).status == "cancelled"
    else:
        with pytest.raises(openai.NotFoundError):
            ai.responses.retrieve(identity)


def test_a_response_in_the_background_that_could_not_be_kept_is_not_made(spoken, monkeypatch):
    def put(*given, **more):
        raise OSError("full")

    monkeypatch.setattr(spoken.drawer, "put", put)
    with TestClient(spoken.app, base_url="http://127.0.0.1", raise_server_exceptions=False) as door:
        answer = door.post("/v1/responses", json={"model": "slow", "input": "x", "background": True})
        assert answer.status_code == 500
        [run] = spoken.shelf.models["slow"].runs
        wait_until(run.done.is_set)
    assert run.is_cancelled


def test_a_response_in_the_background_that_the_server_fails_on_says_so(ai, monkeypatch, caplog):
    def closing(*given):
        raise RuntimeError("a bug")

    monkeypatch.setattr("mainspring.serve.responses_told.closing", closing)
    events = list(ai.responses.create(model="gpt", input="x", background=True, stream=True))
    assert [event.type for event in events[-2:]] == ["response.failed", "error"]
    failed = ai.responses.retrieve(events[0].response.id)
    assert (failed.status, failed.error.code) == ("failed", "server_error")
    assert "failed on this request" in failed.error.message
    assert "a bug" in caplog.text


def test_a_background_response_of_a_server_that_was_stopped_has_failed(tmp_path, spoken):
    with in_background(spoken.app) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        identity = client.responses.create(model="slow", input="x", background=True).id
    again = House(tmp_path, spoken.shelf)
    with in_background(again.app) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        lost = client.responses.retrieve(identity)
    assert (lost.status, lost.error.code) == ("failed", "server_error")
    again.log.close()
    again.database.close()


def test_a_failure_is_kept_where_it_came_too_late_for_a_status(ai):
    events = list(ai.responses.create(model="broken", input="x", stream=True))
    assert events[-1].type == "response.failed"
    assert "fell over" in ai.responses.retrieve(events[-1].response.id).error.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conversation": {"id": "c", "name": "c"}}, "`conversation.name`"),
        ({"prompt": {}}, "`prompt.id`"),
        ({"input": [{"type": "image"}]}, "'image'"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "`input\\[0\\].content\\[0\\].type`",
        ),
        ({"tools": [{"type": "web_search"}]}, "`tools\\[0\\]"),
        ({"background": True, "store": False}, "needs `store`"),
        ({"text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "thing"}}}}, "'thing'"),
        ({"temperature": 3}, "`temperature` is 3"),
        ({"tool_choice": "required"}, "holds none"),
    ],
)
def test_a_bad_field_is_refused(ai, change, words):
    with pytest.raises(openai.BadRequestError, match=words):
        ai.responses.create(**{"model": "gpt", "input": "x", **change})


def test_who_lost_a_stream_in_the_background_goes_on_where_it_was(ai, spoken):
    limits = {"background": True, "max_output_tokens": 25}
    with ai.responses.create(model="slow", input="x", stream=True, **limits) as stream:
        first = [event for event, _ in zip(stream, range(8), strict=False)]
    identity = first[0].response.id
    rest = list(ai.responses.retrieve(identity, stream=True, starting_after=first[-1].sequence_number))
    numbers = [event.sequence_number for event in [*first, *rest]]
    assert numbers == list(range(len(numbers)))
    text = "".join(event.delta for event in [*first, *rest] if event.type == "response.output_text.delta")
    assert text == rest[-1].response.output_text == ai.responses.retrieve(identity).output_text
    assert "events" in spoken.drawer.get("response", identity, "local")
    again = list(ai.responses.retrieve(identity, stream=True, starting_after=first[-1].sequence_number))
    assert again == rest


def test_a_response_that_ends_while_it_is_looked_at_is_not_lost():
    ended, running = (
        {"response": {"status": status, "error": None}} for status in ("completed", "in_progress")
    )
    for kept in (ended, running):
        _lose(kept)
    assert ended["response"] == {"status": "completed", "error": None}
    assert running["response"]["status"] == "failed"
    assert "Send it again" in running["response"]["error"]["message"]


def test_a_conversation_is_compacted_and_goes_on_from_its_summary(ai, spoken):
    first = ai.responses.create(model="gpt", input="What of the sky?")
    done = ai.responses.compact(model="gpt", input="And the sea?", previous_response_id=first.id)
    (shown,) = asked(spoken)
    assert shown.content.endswith("user: What of the sky?\nassistant: The sky is blue.\nuser: And the sea?")
    assert [item.type for item in done.output] == ["message", "message", "compaction"]
    assert done.usage.output_tokens == 4
    items = [item.model_dump(exclude_none=True, warnings=False) for item in done.output]
    ai.responses.create(
        model="gpt", input=[*items, {"role": "user", "content": "Go on."}], instructions="Be brief."
    )
    assert asked(spoken) == (
        Message("system", "Be brief.\n\nWhat was said before: The sky is blue."), Message("user", "Go on."),
    )  # fmt: skip
    ai.responses.compact(model="gpt", input="And the sea?", instructions="In French.")
    assert [message.content for message in asked(spoken) if message.role == "system"] == ["In French."]
    with pytest.raises(openai.BadRequestError, match=r"`input\[0\].encrypted_content`"):
        ai.responses.create(model="gpt", input=[{"type": "compaction", "encrypted_content": "é"}])


def test_a_limit_cuts_the_last_item_alone():
    calls = (ToolCall(id="a", name="look", arguments="{}"), ToolCall(id="b", name="look", arguments='{"at'))
    usage = Usage(prompt_tokens=1, completion_tokens=9)
    reply = Reply(
        text="Let me look.", ids=(), prompt_ids=(), finish_reason="length", usage=usage, tool_calls=calls
    )
    done = closing({"id": "resp_1"}, reply, "req-1")
    assert [item["status"] for item in done["output"]] == ["completed", "completed", "incomplete"]
    assert done["status"] == "incomplete"


def test_a_text_behind_a_call_has_a_place_of_its_own():
    call = ToolCall(id="a", name="look", arguments="{}")
    usage = Usage(prompt_tokens=1, completion_tokens=9)
    reply = Reply(text="So.", ids=(), prompt_ids=(), finish_reason="stop", usage=usage, tool_calls=(call,))
    kept = []
    teller = Teller({"id": "resp_1"}, "req-1", kept.append)
    piece = ToolCallDelta(index=0, id="a", name="look", arguments="{}")
    deltas = [Delta(tool_calls=(piece,)), Delta(text="So."), Delta(reply=reply)]
    said = [json.loads(event.split(b"data: ")[1]) for delta in deltas for event in teller.take(delta)]
    places = {(one.get("item_id") or one["item"]["id"], one["output_index"]) for one in said}
    assert places == {("fc_1_0", 0), ("msg_1", 1)}
    assert list(teller.end())
    assert [item["id"] for item in kept[0]["output"]] == ["fc_1_0", "msg_1"]


@pytest.mark.parametrize(
    ("path", "more"),
    [("", {}), ("", {"background": True}), ("", {"background": True, "stream": True}), ("/compact", {})],
)
def test_the_id_of_a_request_is_the_one_in_the_log(spoken, spoken_url, path, more):
    answer = httpx2.post(f"{spoken_url}/v1/responses{path}", json={"model": "gpt", "input": "x", **more})
    wait_until(lambda: spoken.events("span"))
    assert answer.headers["x-request-id"] == spoken.events("span")[0].subject


def test_a_response_says_with_what_it_was_sampled(ai, spoken):
    default = spoken.shelf.models["gpt"].default_sampling
    done = ai.responses.create(model="gpt", input="x", top_p=0.5)
    assert (done.temperature, done.top_p) == (default.temperature, 0.5)
    created = next(iter(ai.responses.create(model="gpt", input="x", stream=True)))
    assert (created.response.temperature, created.response.top_p) == (default.temperature, default.top_p)


def test_a_fault_of_an_item_names_its_place_in_what_was_sent(ai):
    first = ai.responses.create(model="gpt", input="x")
    item = {"type": "compaction", "encrypted_content": "4pqh/w=="}  # base64, but no text
    with pytest.raises(openai.BadRequestError, match=r"`input\[0\]`: its `encrypted_content` is no"):
        ai.responses.create(model="gpt", input=[item], previous_response_id=first.id)
