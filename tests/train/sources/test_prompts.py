import json

import pytest

from fakes_llama import tiny_llama
from fakes_tokenizer import ByteTokenizer
from mainspring.chat import render
from mainspring.errors import ChatError, ContextLengthError, UserError
from mainspring.registry import Registry
from mainspring.schema import Message
from mainspring.train.sources.base import Opening
from mainspring.train.sources.prompts import PromptRecords, Prompts, chat_prompts

ASK = {"role": "user", "content": "6 * 7?"}
SAY = {"role": "assistant", "content": "It is 42"}
WHY = {"role": "user", "content": "why?"}


@pytest.fixture
def opened(tmp_path):
    def opened(*rows, max_tokens=200):
        path = tmp_path / "rows.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
        opening = Opening(
            registry=Registry.__new__(Registry), tokenizer=ByteTokenizer(), model=tiny_llama().config,
            max_tokens=max_tokens,
        )  # fmt: skip
        return PromptRecords(dataset=str(path)).open(opening)

    return opened


def test_a_prompt_is_rendered_open_for_its_answer(opened):
    source = opened({"messages": [ASK], "reference": "42"})
    (prompt,) = source.item(0)
    ids = render([Message(**ASK)], ByteTokenizer(), open_reply=True).ids
    assert (prompt.ids, prompt.weight, prompt.trained_tokens) == (ids, [0.0] * len(ids), 0)
    assert (prompt.index, prompt.text, prompt.reference) == (0, "6 * 7?", "42")


def test_a_last_answer_is_the_reference_unless_another_is_given(opened):
    more = {"tests": "assert f() == 1"}
    source = opened({"messages": [ASK, SAY]}, {"messages": [ASK, SAY], "reference": more})
    assert source.item(0)[0].reference == "It is 42"
    assert source.item(1)[0].reference == more
    assert source.item(0)[0].ids == source.item(1)[0].ids


def test_what_a_reward_reads_is_the_conversation_without_the_systems_message(opened):
    source = opened({"messages": [{"role": "system", "content": "Be brief."}, ASK, SAY, WHY]})
    assert source.item(0)[0].text == "6 * 7?\n\nIt is 42\n\nwhy?"
    assert source.item(0)[0].reference is None


def test_the_fingerprint_follows_ids_texts_and_references():
    def made(content="6 * 7?", reference="42"):
        messages = [Message(role="user", content=content)]
        return chat_prompts([(messages, reference)], ByteTokenizer(), max_tokens=100).fingerprint

    assert made() == made()
    assert len({made(), made(reference="43"), made(content="7?")}) == 3


def test_bad_prompts_are_refused(opened):
    with pytest.raises(ChatError, match="No prompts"):
        Prompts([])
    with pytest.raises(ContextLengthError, match="prompt 0 has"):
        opened({"messages": [ASK]}, max_tokens=5)
    with pytest.raises(ChatError, match="prompt 1"):
        opened({"messages": [ASK]}, {"messages": [SAY]})
    with pytest.raises(UserError, match="line 1 has no conversation"):
        opened({"prompt": "x"})
    with pytest.raises(UserError, match="line 1 has a reference that is neither"):
        opened({"messages": [ASK], "reference": 42})
