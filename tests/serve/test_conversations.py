"""Conversations and stored prompts, spoken by the official client to a real server."""

import threading
import time
from functools import partial
from types import SimpleNamespace

import openai
import pytest

from fakes_server import in_background
from mainspring.prompts.chat_prompt import ChatPrompt
from mainspring.schema import Message
from mainspring.serve.responses_told import Teller

USER = {"role": "user", "content": "What of the sky?"}
GREETING = ChatPrompt.model_validate({
    "messages": [
        {"role": "developer", "content": "Speak {{ language }}."}, {"role": "user", "content": "I am {{name}}."},
        {"role": "assistant", "content": "Hello {{name}}."},
    ]
})  # fmt: skip
SAID = ["What of the sky?", "The sky is blue."]


def texts(ai, conversation):
    items = list(ai.conversations.items.list(conversation, order="asc"))
    return [item.content[0].text for item in items]


def ended(ai, response):
    """A response in the background, when it has ended."""
    end = time.monotonic() + 5
    while response.status == "in_progress":
        assert time.monotonic() < end, "it did not end in time"
        response = ai.responses.retrieve(response.id)
    return response


def asked(house, model="gpt"):
    return house.shelf.models[model].asked[-1]


@pytest.fixture
def conversation(ai):
    return ai.conversations.create(items=[USER, {"role": "assistant", "content": "Blue."}]).id


def test_a_conversation_is_made_marked_and_deleted(ai):
    made = ai.conversations.create(metadata={"a": "b"})
    assert (made.object, made.metadata) == ("conversation", {"a": "b"})
    assert ai.conversations.retrieve(made.id) == made
    assert ai.conversations.update(made.id, metadata={"c": "d"}).metadata == {"c": "d"}
    assert ai.conversations.retrieve(made.id).metadata == {"c": "d"}
    gone = ai.conversations.delete(made.id)
    assert (gone.deleted, gone.object) == (True, "conversation.deleted")
    for call in (
        ai.conversations.retrieve, ai.conversations.delete, ai.conversations.items.list,
        lambda name: ai.conversations.update(name, metadata={}),
        lambda name: ai.conversations.items.create(name, items=[USER]),
        lambda name: ai.responses.create(model="gpt", input="x", conversation=name),
        lambda name: ai.responses.input_tokens.count(model="gpt", input="x", conversation=name),
    ):  # fmt: skip
        with pytest.raises(openai.NotFoundError, match="There is no conversation") as raised:
            call(made.id)
        assert raised.value.code == "object_not_found"


def test_a_conversation_stays_when_what_else_is_stored_expires(ai, conversation, monkeypatch):
    first = ai.responses.create(model="gpt", input="x", conversation=conversation)
    monkeypatch.setattr("mainspring.gateway.drawer.time", SimpleNamespace(time=lambda: 1e12))
    ai.conversations.create()  # drops what has expired
    with pytest.raises(openai.NotFoundError):
        ai.responses.retrieve(first.id)
    assert ai.conversations.retrieve(conversation).id == conversation


def test_items_are_added_listed_read_and_taken_out(ai, conversation):
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    added = ai.conversations.items.create(conversation, items=[call, {**USER, "id": "mine"}])
    assert [item.type for item in added.data] == ["function_call", "message"]
    assert (added.last_id, added.has_more) == ("mine", False)
    listed = ai.conversations.items.list(conversation, limit=1, order="asc")
    assert [item.type for item in listed] == ["message", "message", "function_call", "message"]
    assert ai.conversations.items.list(conversation, limit=1).data[0].id == "mine"  # the newest come first
    kept = ai.conversations.items.retrieve("mine", conversation_id=conversation)
    assert (kept.content[0].text, kept.status) == ("What of the sky?", "completed")
    assert ai.conversations.items.delete("mine", conversation_id=conversation).id == conversation
    for verb in (ai.conversations.items.retrieve, ai.conversations.items.delete):
        with pytest.raises(openai.NotFoundError, match="There is no item 'mine'"):
            verb("mine", conversation_id=conversation)
    assert len(ai.conversations.items.list(conversation).data) == 3


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([USER] * 21, "`items`"),
        ([USER, {"role": "user", "content": [{"type": "input_image"}]}], r"`items\[1\].content\[0\].type`"),
        ([{"type": "image"}], "'image'"),
        ([{**USER, "id": 5}], r"`items\[0\].id`"),
        ([{**USER, "id": "a"}, {**USER, "id": "a"}], r"`items\[1\].id` is 'a'.* already"),
    ],
)
def test_items_that_cannot_be_kept_are_refused(ai, conversation, items, words):
    for call in (
        lambda: ai.conversations.create(items=items),
        lambda: ai.conversations.items.create(conversation, items=items),
    ):
        with pytest.raises(openai.BadRequestError, match=words):
            call()
    assert len(texts(ai, conversation)) == 2


def test_an_item_that_is_there_already_is_not_added_again(ai, conversation):
    [first, _] = ai.conversations.items.list(conversation, order="asc")
    again = [{**USER, "id": first.id}]
    with pytest.raises(openai.BadRequestError, match=r"`items\[0\].id`"):
        ai.conversations.items.create(conversation, items=again)
    with pytest.raises(openai.BadRequestError, match=r"`input\[0\].id`"):
        ai.responses.create(model="gpt", input=again, conversation=conversation)


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"background": True}, {"store": False}])
def test_a_response_goes_on_from_a_conversation_and_adds_to_it(ai, spoken, conversation, more):
    done = ai.responses.create(model="gpt", input="And?", conversation=conversation, **more)
    done = list(done)[-1].response if more.get("stream") else done
    assert ended(ai, done).conversation.id == conversation
    assert asked(spoken) == (
        Message("user", "What of the sky?"), Message("assistant", "Blue."), Message("user", "And?"),
    )  # fmt: skip
    assert texts(ai, conversation) == ["What of the sky?", "Blue.", "And?", "The sky is blue."]


def test_a_conversation_may_hold_all_that_is_asked(ai, spoken):
    talk = ai.conversations.create(items=[USER])
    ai.responses.create(model="gpt", conversation={"id": talk.id})
    assert asked(spoken) == (Message("user", "What of the sky?"),)
    assert texts(ai, talk.id) == SAID


def test_a_reply_that_its_limit_cut_is_added(ai):
    talk = ai.conversations.create()
    ai.responses.create(model="gpt", input="x", conversation=talk.id, max_output_tokens=2)
    assert texts(ai, talk.id) == ["x", "The sky"]


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"background": True}])
def test_a_response_that_failed_adds_nothing(ai, conversation, more):
    asking = {"model": "broken", "input": "x", "conversation": conversation, **more}
    if not more:
        with pytest.raises(openai.InternalServerError):
            ai.responses.create(**asking)
    elif "stream" in more:
        assert list(ai.responses.create(**asking))[-1].response.status == "failed"
    else:
        assert ended(ai, ai.responses.create(**asking)).status == "failed"
    assert len(texts(ai, conversation)) == 2


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_a_response_that_its_client_has_ended_adds_nothing(ai, conversation, monkeypatch, end):
    tell, is_done, may_write, has_written = Teller.end, *(threading.Event() for _ in range(3))

    def late(teller):
        is_done.set()
        assert may_write.wait(5)
        yield from tell(teller)
        has_written.set()

    monkeypatch.setattr(Teller, "end", late)
    done = ai.responses.create(model="gpt", input="x", background=True, conversation=conversation)
    assert is_done.wait(5)
    getattr(ai.responses, end)(done.id)
    may_write.set()
    assert has_written.wait(5)
    assert len(texts(ai, conversation)) == 2


def test_what_was_said_is_there_when_a_response_in_the_background_is_whole(
    ai, spoken, conversation, monkeypatch
):
    change, seen = spoken.drawer.change, []

    def look_behind(kind, identity, tenant, how):
        kept = change(kind, identity, tenant, how)
        if kind == "response" and kept["response"]["status"] == "completed":
            seen.append(len(spoken.drawer.get("conversation", conversation, tenant)["items"]))
        return kept

    monkeypatch.setattr(spoken.drawer, "change", look_behind)
    done = ai.responses.create(model="gpt", input="x", background=True, conversation=conversation)
    ended(ai, done)
    while not seen:  # the client may hear of it before this test's own look is over
        time.sleep(0.01)
    assert seen == [4]


def test_responses_at_once_lose_nothing_and_stay_together(ai, conversation):
    def ask(number):
        ai.responses.create(model="gpt", input=f"question {number}", conversation=conversation)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = texts(ai, conversation)[2:]
    assert sorted(said[::2]) == [f"question {number}" for number in range(8)]
    assert said[1::2] == ["The sky is blue."] * 8


def test_a_response_stays_though_its_conversation_is_deleted_meanwhile(ai, conversation, monkeypatch):
    tell = Teller.end

    def late(teller):
        ai.conversations.delete(conversation)
        yield from tell(teller)

    monkeypatch.setattr(Teller, "end", late)
    events = list(ai.responses.create(model="gpt", input="x", conversation=conversation, stream=True))
    assert ai.responses.retrieve(events[-1].response.id).output_text == "The sky is blue."


def test_a_response_and_its_conversation_name_one_history(ai, spoken, conversation):
    first = ai.responses.create(model="gpt", input="And?", conversation=conversation)
    history = [*asked(spoken), Message("assistant", "The sky is blue.")]
    both = {"conversation": conversation, "previous_response_id": first.id}
    done = ai.responses.create(input="Go on.", **both)
    assert (done.model, done.previous_response_id, done.conversation.id) == ("gpt", first.id, conversation)
    assert asked(spoken) == (*history, Message("user", "Go on."))
    assert ai.responses.input_tokens.count(input="x", **both).input_tokens > len("<user>x")
    other = ai.conversations.create().id
    alone = ai.responses.create(model="gpt", input="x").id
    for wrong in ({"conversation": other}, {"previous_response_id": alone}):
        with pytest.raises(openai.BadRequestError, match=r"each names another history\. Leave one") as raised:
            ai.responses.create(input="x", **{**both, **wrong})
        assert raised.value.param == "previous_response_id"


def test_a_response_in_a_conversation_is_gone_on_from_with_what_was_before_it(ai, spoken, conversation):
    first = ai.responses.create(model="gpt", input="And?", conversation=conversation)
    history = [*asked(spoken), Message("assistant", "The sky is blue.")]
    ai.responses.create(model="gpt", input="Something else.", conversation=conversation)
    branch = ai.responses.create(input="Go on.", previous_response_id=first.id)
    assert asked(spoken) == (*history, Message("user", "Go on."))
    assert branch.conversation is None
    assert len(texts(ai, conversation)) == 6  # the branch is none of it
    ai.conversations.delete(conversation)
    with pytest.raises(openai.NotFoundError, match="There is no conversation"):
        ai.responses.create(input="x", previous_response_id=branch.id)


def test_a_compaction_in_a_conversation_stands_for_all_before_it(ai, spoken, conversation):
    done = ai.responses.compact(model="gpt", input="What of the sky?")
    item = {"type": "compaction", "encrypted_content": done.output[-1].encrypted_content}
    ai.conversations.items.create(conversation, items=[item])
    ai.responses.create(model="gpt", input="Go on.", conversation=conversation)
    assert asked(spoken) == (
        Message("system", "What was said before: The sky is blue."), Message("user", "Go on."),
    )  # fmt: skip


def test_a_stored_prompt_comes_before_all_that_was_said(ai, spoken, conversation):
    spoken.shelf.prompts["greeting", "production"] = GREETING
    name = {"type": "input_text", "text": "{{language}}"}  # which is no placeholder
    prompt = {"id": "greeting", "version": "production", "variables": {"language": "French", "name": name}}
    asking = {"model": "gpt", "input": "And?", "prompt": prompt, "conversation": conversation}
    done = ai.responses.create(instructions="Be brief.", **asking)
    shown = (
        Message("system", "Be brief.\n\nSpeak French."), Message("user", "I am {{language}}."),
        Message("assistant", "Hello {{language}}."),
        Message("user", "What of the sky?"), Message("assistant", "Blue."), Message("user", "And?"),
    )  # fmt: skip
    assert asked(spoken) == shown
    assert done.prompt.model_dump(exclude_none=True) == prompt
    assert texts(ai, conversation)[-2:] == ["And?", "The sky is blue."]  # the prompt is none of it
    assert spoken.events("span")[-1].data["attributes"]["mainspring.prompt"] == "prompt/greeting@1"
    del asking["prompt"]
    count = partial(
        ai.responses.input_tokens.count, **{**asking, "conversation": ai.conversations.create().id}
    )
    assert count(extra_body={"prompt": prompt}).input_tokens > count().input_tokens + len("Speak French.")


def test_a_stored_prompt_may_be_all_that_is_asked(ai, spoken):
    spoken.shelf.prompts["ask", None] = ChatPrompt.model_validate({"messages": [USER]})
    done = ai.responses.create(model="gpt", prompt={"id": "ask"})
    assert asked(spoken) == (Message("user", "What of the sky?"),)
    assert ai.responses.input_items.list(done.id).data == []


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ({"variables": {"language": "x"}}, "`prompt.variables` has no 'name'.* are language, name"),
        (
            {"variables": {"language": "x", "name": "y", "z": "z"}},
            "`prompt.variables` has 'z'.* are language",
        ),
        ({"variables": {"language": {"type": "input_image"}}}, "`prompt.variables"),
        ({"version": "no/version"}, "`prompt.version`"),
        ({"form": "x"}, "`prompt.form` is not supported"),
    ],
)
def test_a_stored_prompt_that_cannot_be_filled_is_refused(ai, spoken, prompt, words):
    spoken.shelf.prompts["greeting", None] = GREETING
    with pytest.raises(openai.BadRequestError, match=words) as raised:
        ai.responses.create(model="gpt", input="x", prompt={"id": "greeting", **prompt})
    assert raised.value.param.startswith("prompt.")


def test_a_prompt_that_is_not_there_is_not_found(ai):
    with pytest.raises(openai.NotFoundError, match="There is no prompt 'greeting'") as raised:
        ai.responses.create(model="gpt", input="x", prompt={"id": "greeting"})
    assert raised.value.code == "object_not_found"


def test_conversations_outlive_the_server(spoken, conversation, ai):
    ai.responses.create(model="gpt", input="And?", conversation=conversation)
    with in_background(spoken.app) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        assert len(texts(client, conversation)) == 4
