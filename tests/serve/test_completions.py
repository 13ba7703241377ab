"""Raw prompts and tokens, spoken by the official client to a real server."""

import httpx2
import openai
import pytest


def test_prompts_come_as_a_text_texts_ids_and_lists_of_ids(ai, spoken):
    asked = spoken.shelf.models["gpt"].asked
    for prompt, seen in [
        ("abc", ["abc"]),
        (["abc", "d"], ["abc", "d"]),
        ([1, 2], [(1, 2)]),
        ([[1, 2], [3]], [(1, 2), (3,)]),
    ]:
        asked.clear()
        done = ai.completions.create(model="gpt", prompt=prompt)
        assert asked == seen
        assert [choice.text for choice in done.choices] == ["The sky is blue."] * len(seen)
        assert [choice.index for choice in done.choices] == list(range(len(seen)))
    assert spoken.shelf.models["gpt"].runs[-1].sampling.max_tokens == 16


def test_every_prompt_has_its_replies_and_is_counted_once(ai):
    done = ai.completions.create(model="gpt", prompt=["abc", "de"], n=2, max_tokens=2)
    assert [choice.index for choice in done.choices] == [0, 1, 2, 3]
    assert {choice.finish_reason for choice in done.choices} == {"length"}
    assert (done.usage.prompt_tokens, done.usage.completion_tokens) == (5, 8)


def test_logprobs_come_as_columns_with_offsets(ai):
    logprobs = ai.completions.create(model="gpt", prompt="ab", logprobs=2).choices[0].logprobs
    assert logprobs.tokens == ["The", " sky", " is", " blue."]
    assert logprobs.text_offset == [0, 3, 7, 10]
    assert logprobs.token_logprobs == [-0.5] * 4
    assert logprobs.top_logprobs[0] == {"The": -0.5, "alt1": -2.0}


@pytest.mark.parametrize("prompt", ["ab", list(b"ab")])
def test_an_echo_scores_the_prompt_without_a_word_more(ai, prompt):
    done = ai.completions.create(model="gpt", prompt=prompt, echo=True, logprobs=1, max_tokens=0)
    choice = done.choices[0]
    assert choice.text == "ab"
    assert choice.logprobs.tokens == ["a", "b"]
    assert choice.logprobs.token_logprobs == [None, -2.0]
    assert choice.logprobs.top_logprobs == [None, {"b": -2.0}]
    assert choice.logprobs.text_offset == [0, 1]
    assert done.usage.completion_tokens == 0


def test_a_stream_of_several_prompts_carries_each_ones_text(ai):
    texts, ends = {0: "", 1: ""}, {}
    stream = ai.completions.create(model="gpt", prompt=["x", "y"], stream=True, echo=True, stop="is")
    for chunk in stream:
        choice = chunk.choices[0]
        texts[choice.index] += choice.text
        ends[choice.index] = choice.finish_reason
    assert texts == {0: "xThe sky", 1: "yThe sky"}
    assert ends == {0: "stop", 1: "stop"}
    assert choice.model_extra["stop_reason"] == "is"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": ""}, "`prompt` is empty"),
        ({"prompt": []}, "`prompt` is empty"),
        ({"prompt": [[1], []]}, "`prompt` is empty"),
        ({"prompt": [1, "a"]}, "mixes"),
        ({"prompt": [-1]}, "`prompt\\[0\\]` is -1"),
        ({"prompt": "x" * 4001}, "4,001 tokens"),
        ({"model": "plain"}, "does not do raw prompts"),
        ({"logprobs": 21}, "`logprobs` is 21"),
    ],
)
def test_a_bad_field_is_refused(ai, change, words):
    with pytest.raises(openai.BadRequestError, match=words):
        ai.completions.create(**{"model": "gpt", "prompt": "x", **change})


def test_tokens_are_shown_and_read_back(spoken_url):
    post = httpx2.Client(base_url=spoken_url).post
    done = post("/tokenize", json={"model": "gpt", "prompt": "ab", "return_token_strs": True}).json()
    assert done == {"count": 2, "max_model_len": 4000, "tokens": [97, 98], "token_strs": ["a", "b"]}
    chat = {"model": "gpt", "messages": [{"role": "user", "content": "x"}]}
    assert bytes(post("/tokenize", json=chat).json()["tokens"]) == b"<user>x"
    assert post("/detokenize", json={"model": "gpt", "tokens": [97]}).json() == {"prompt": "a"}
    assert httpx2.get(f"{spoken_url}/tokenizer_info").json() == {"model": "gpt", "max_model_len": 4000}
    assert post("/tokenize", json={"model": "plain", "prompt": "x"}).status_code == 400
    assert post("/tokenize", json={"model": "nothing", "prompt": "x"}).status_code == 404
    assert post("/tokenize", json={"model": "gpt"}).status_code == 400


def test_others_are_answered_while_a_text_is_encoded(spoken, spoken_url, monkeypatch):
    model, asked = spoken.shelf.models["gpt"], []

    def meanwhile(whole):
        def call(given):
            asked.append(httpx2.get(f"{spoken_url}/health/live", timeout=2).status_code)
            return whole(given)

        return call

    monkeypatch.setattr(model, "encode", meanwhile(model.encode))
    monkeypatch.setattr(model, "decode", meanwhile(model.decode))
    post = httpx2.Client(base_url=spoken_url).post
    for path, more in [
        ("/tokenize", {"prompt": "a", "return_token_strs": True}),
        ("/detokenize", {"tokens": [97]}),
        ("/v1/completions", {"prompt": [97], "echo": True}),
    ]:
        assert post(path, json={"model": "gpt", **more}).status_code == 200
    assert asked == [200] * 4
