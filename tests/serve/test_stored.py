"""Chat completions that are stored, spoken by the official client to a real server."""

import httpx2
import openai
import pytest

from mainspring.errors import OverloadedError

USER = {"role": "user", "content": "What of the sky?"}


def ask(ai, **more):
    return ai.chat.completions.create(**{"model": "gpt", "messages": [USER], "store": True, **more})


def test_a_stored_completion_is_read_marked_and_deleted(ai):
    done = ask(ai, metadata={"a": "b"})
    kept = ai.chat.completions.retrieve(done.id)
    assert (kept, kept.metadata) == (done, {"a": "b"})
    assert ai.chat.completions.update(done.id, metadata={"c": "d"}).metadata == {"c": "d"}
    assert ai.chat.completions.retrieve(done.id).metadata == {"c": "d"}
    assert ai.chat.completions.delete(done.id).deleted
    for call in (ai.chat.completions.retrieve, ai.chat.completions.delete):
        with pytest.raises(openai.NotFoundError, match="There is no chat completion") as raised:
            call(done.id)
        assert (raised.value.code, raised.value.param) == ("object_not_found", None)


def test_what_was_streamed_is_stored_whole(ai):
    chunks = list(ask(ai, stream=True, n=2))
    kept = ai.chat.completions.retrieve(chunks[0].id)
    assert [choice.message.content for choice in kept.choices] == ["The sky is blue.", "The sky is blue. 1"]
    assert [choice.index for choice in kept.choices] == [0, 1]


def test_nothing_is_stored_unasked(ai):
    done = ask(ai, store=False)
    with pytest.raises(openai.NotFoundError):
        ai.chat.completions.retrieve(done.id)
    assert ai.chat.completions.list().data == []


def test_stored_completions_are_listed_by_model_and_metadata_page_by_page(ai):
    ids = [ask(ai, metadata={"kind": kind, 'odd "]': "x"}).id for kind in "abab"]
    other = ask(ai, model="caller").id
    listed = ai.chat.completions.list
    assert [one.id for one in listed(limit=2)] == [*ids, other]  # the client asks for page after page
    assert [one.id for one in listed(order="desc", limit=1).data] == [other]
    assert [one.id for one in listed(model="caller").data] == [other]
    assert [one.id for one in listed(metadata={"kind": "b"}).data] == ids[1::2]
    assert [one.id for one in listed(metadata={"kind": "b", 'odd "]': "x"}, after=ids[1]).data] == [ids[3]]
    assert listed(metadata={"kind": "c"}).data == []
    assert listed(limit=0).data == []


def test_the_messages_of_a_stored_completion_are_listed(ai):
    parts = {"role": "user", "content": [{"type": "text", "text": "x"}]}
    done = ask(ai, messages=[USER, {"role": "assistant", "content": "Blue."}, parts])
    rows = list(ai.chat.completions.messages.list(done.id, limit=2))
    assert [(row.role, row.content) for row in rows] == [
        ("user", USER["content"]), ("assistant", "Blue."), ("user", None),
    ]  # fmt: skip
    assert rows[2].content_parts[0].text == "x"
    assert ai.chat.completions.messages.list(done.id, order="desc").data[0].id == rows[2].id


def test_metadata_beyond_its_bounds_is_refused(ai):
    with pytest.raises(openai.BadRequestError, match="`metadata"):
        ask(ai, metadata={str(number): "x" for number in range(17)})
    with pytest.raises(openai.BadRequestError, match="`metadata"):
        ask(ai, metadata={"a": "x" * 513})
    with pytest.raises(openai.BadRequestError, match=r"`metadata` is .* length <= 64"):
        ask(ai, metadata={"x" * 65: "a"})
    with pytest.raises(openai.BadRequestError, match="names no key"):
        ai.chat.completions.list(extra_query={"metadata[]": "a"})


def test_who_is_told_to_wait_is_told_how_long(spoken, spoken_url):
    def refuse(*given, **more):
        raise OverloadedError("too many requests are waiting", retry_after_s=17)

    spoken.shelf.models["gpt"].start = refuse
    answer = httpx2.post(f"{spoken_url}/v1/chat/completions", json={"model": "gpt", "messages": [USER]})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "17")
