"""The dialect, spoken by the official client to a real server."""

import base64
import concurrent.futures
import json
import threading
import time

import httpx2
import numpy as np
import openai
import pytest

from fakes_model import House, ScriptedModel, Shelf, WordEmbedder
from fakes_server import in_background

QUESTION = [{"role": "user", "content": "When was it built?"}]


def wait_until(condition, timeout_s=5):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_the_official_client_gets_a_whole_answer_with_its_citations(client):
    done = client.chat.completions.create(model="mainspring", messages=QUESTION)
    assert done.choices[0].message.content == "A fine question 🪨. It was built in 1890."
    assert done.choices[0].finish_reason == "stop"
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens > 0
    extension = done.model_extra["mainspring"]
    assert extension["request"] == done.id == done._request_id
    assert (extension["kind"], extension["assistant"]) == ("generated", "assistant/mainspring@1")
    assert extension["citations"][0]["quote"] == "It was built in 1890 — of granite 🪨."
    assert extension["passages"][0]["heading"] == "History"
    assert extension["passages"][0]["score"] == 0.83


def test_the_official_client_gets_a_stream_whose_last_choice_carries_the_extension(client):
    stream = client.chat.completions.create(
        model="mainspring", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == "A fine question 🪨. It was built in 1890."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len(chunks) > 5
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-2].model_extra["mainspring"]["citations"][0]["number"] == 1
    assert chunks[-2].model_extra["mainspring"]["text"] is None
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 0


def test_a_stream_ends_with_done_and_names_its_request_in_a_header(url):
    body = {"model": "plain", "messages": QUESTION, "stream": True}
    answer = httpx2.post(f"{url}/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")
    assert f'"request":"{answer.headers["x-request-id"]}"' in answer.text
    assert '"usage"' not in answer.text


def test_an_answer_that_differs_from_its_stream_replaces_it(house, client):
    house.shelf.models["mainspring"].text = "A first thought"
    chunks = list(client.chat.completions.create(model="mainspring", messages=QUESTION, stream=True))
    assert chunks[-1].model_extra["mainspring"]["text"] == "A fine question 🪨. It was built in 1890."


def test_what_was_not_streamed_of_an_answer_is_sent_at_its_end(house, client):
    house.shelf.models["mainspring"].text = ""
    chunks = list(client.chat.completions.create(model="mainspring", messages=QUESTION, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "A fine question 🪨. It was built in 1890."
    assert chunks[-1].model_extra["mainspring"]["text"] is None


def test_sampling_fields_reach_the_model_and_its_defaults_fill_the_rest(house, client):
    client.chat.completions.create(
        model="plain",
        messages=QUESTION,
        temperature=1,
        top_p=0.5,
        seed=7,
        stop="x",
        max_completion_tokens=1,
        extra_body={"top_k": 3},
    )
    sampling = house.shelf.models["plain"].runs[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed) == (1.0, 0.5, 3, 7)
    assert (sampling.stop, sampling.max_tokens) == (("x",), 1)
    client.chat.completions.create(model="plain", messages=QUESTION)
    assert house.shelf.models["plain"].runs[1].sampling == house.shelf.models["plain"].default_sampling


def test_content_may_be_a_list_of_text_parts(house, client):
    parts = [{"type": "text", "text": "When was "}, {"type": "text", "text": "it built?"}]
    client.chat.completions.create(model="plain", messages=[{"role": "user", "content": parts}])
    assert bytes(house.shelf.models["plain"].runs[0].prompt_ids) == b"When was it built?"


def test_an_answer_of_the_client_can_be_sent_back_as_a_message(client):
    done = client.chat.completions.create(model="plain", messages=QUESTION)
    again = [*QUESTION, done.choices[0].message, {"role": "user", "content": "and then?"}]
    assert client.chat.completions.create(model="plain", messages=again).choices[0].message.content


def test_models_are_listed_with_what_they_are_for(client):
    tasks = {model.id: model.model_extra["mainspring"]["task"] for model in client.models.list()}
    assert tasks["mainspring"] == "chat"
    assert tasks["bytes"] == "embedding"
    assert client.models.retrieve("plain").id == "plain"
    with pytest.raises(openai.NotFoundError, match="known models are mainspring"):
        client.models.retrieve("nothing")


@pytest.mark.parametrize("given", ["one text", ["one text", "another one"]])
def test_embeddings_come_as_numbers_and_as_base64_alike(client, given):
    texts = [given] if isinstance(given, str) else given
    expected = WordEmbedder().embed(texts)
    packed = client.embeddings.create(model="bytes", input=given)  # the client asks for base64 by itself
    plain = client.embeddings.create(model="bytes", input=given, encoding_format="float")
    np.testing.assert_array_equal(np.array([row.embedding for row in plain.data], np.float32), expected)
    np.testing.assert_array_equal(np.array([row.embedding for row in packed.data], np.float32), expected)
    raw = client.embeddings.with_raw_response.create(model="bytes", input=given, encoding_format="base64")
    first = json.loads(raw.content)["data"][0]["embedding"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(first), "<f4"), expected[0])
    assert plain.usage.prompt_tokens == sum(len(text.split()) for text in texts)


def test_health_fails_when_the_engine_is_gone(house, url):
    assert httpx2.get(f"{url}/health").json() == {"status": "ok"}
    house.shelf.fault = "the engine's thread has ended"
    answer = httpx2.get(f"{url}/health")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the engine's thread has ended")


def test_a_failure_before_the_first_word_has_its_own_status(client):
    with pytest.raises(openai.InternalServerError, match="fell over"):
        client.chat.completions.create(model="mute", messages=QUESTION, stream=True)
    with pytest.raises(openai.InternalServerError, match="fell over"):
        client.chat.completions.create(model="broken", messages=QUESTION)


def test_a_failure_in_the_middle_of_a_stream_ends_it_with_an_error(client):
    stream = client.chat.completions.create(model="broken", messages=QUESTION, stream=True)
    words = []
    with pytest.raises(openai.APIError, match="fell over"):
        words += [chunk.choices[0].delta.content for chunk in stream]


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_client_that_leaves_cancels_its_generation(house, url, is_stream):
    body = {"model": "slow", "messages": QUESTION, "stream": is_stream}
    runs = house.shelf.models["slow"].runs
    try:
        with httpx2.stream(
            "POST", f"{url}/v1/chat/completions", json=body, timeout=30 if is_stream else 1.0
        ) as answer:
            next(answer.iter_lines())
    except httpx2.TimeoutException:
        assert not is_stream
    wait_until(lambda: runs and runs[0].done.is_set())
    assert runs[0].is_cancelled
    assert runs[0].said < 150
    wait_until(lambda: house.events("answer"))
    assert house.events("answer")[0].data["finish_reason"] == "cancelled"


@pytest.mark.slow
def test_sixteen_streams_are_each_of_one_version_while_the_versions_change(tmp_path):
    def version(number):
        return ScriptedModel("mainspring", " ".join([f"v{number}"] * 20), step_s=0.005)

    versions = [version(number) for number in range(4)]
    house = House(tmp_path, Shelf([versions[0]]))

    turns = [threading.Event() for _ in versions]

    def ask(client, number):
        turns[number // 4].wait(30)
        stream = client.chat.completions.create(model="mainspring", messages=QUESTION, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream).split()

    with (
        in_background(house.app) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
        concurrent.futures.ThreadPoolExecutor(16) as pool,
    ):
        answers = [pool.submit(ask, client, number) for number in range(16)]
        for one, turn in zip(versions, turns, strict=True):
            house.shelf.models["mainspring"] = one
            turn.set()
            wait_until(lambda one=one: len(one.runs) == 4)
        texts = [answer.result() for answer in answers]
    for text in texts:
        assert len(text) == 20
        assert len(set(text)) == 1
    assert {text[0] for text in texts} == {"v0", "v1", "v2", "v3"}
    house.close()
