import json

import pytest

from fakes_tokenizer import ByteTokenizer
from mainspring.chat import render
from mainspring.data.document import Document
from mainspring.errors import ChatError, ContextLengthError, DocumentError
from mainspring.schema import Message
from mainspring.train.sources.prompts import PromptRow, Prompts, chat_prompts, document_row, read_prompts

ASK = {"role": "user", "content": "6 * 7?"}
SAY = {"role": "assistant", "content": "It is 42"}


def write(path, *rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    return path


def test_a_prompt_is_rendered_open_for_its_answer(tmp_path):
    rows = read_prompts(write(tmp_path / "rows.jsonl", {"messages": [ASK], "reference": "42"}))
    source = chat_prompts(rows, ByteTokenizer(), max_tokens=100)
    (prompt,) = source.item(0)
    ids = render([Message(**ASK)], ByteTokenizer(), open_reply=True).ids
    assert (prompt.ids, prompt.weight, prompt.trained_tokens) == (ids, [0.0] * len(ids), 0)
    assert (prompt.index, prompt.text, prompt.reference) == (0, "6 * 7?", "42")


def test_a_last_answer_is_the_reference_unless_another_is_given(tmp_path):
    more = {"tests": "assert f() == 1"}
    rows = read_prompts(
        write(tmp_path / "rows.jsonl", {"messages": [ASK, SAY]}, {"messages": [ASK, SAY], "reference": more})
    )
    source = chat_prompts(rows, ByteTokenizer(), max_tokens=100)
    assert source.item(0)[0].reference == "It is 42"
    assert source.item(1)[0].reference == more
    assert source.item(0)[0].ids == source.item(1)[0].ids
    longer = chat_prompts(
        [PromptRow(messages=(Message(**ASK), Message(**SAY), Message(role="user", content="why?")))],
        ByteTokenizer(),
        max_tokens=200,
    )
    assert longer.item(0)[0].text == "6 * 7?\n\nIt is 42\n\nwhy?"


def test_documents_of_a_dataset_are_prompts():
    document = Document(id="d1", text="", meta={"messages": [ASK, SAY]})
    assert document_row(document).messages == (Message(**ASK), Message(**SAY))
    marked = Document(id="d2", text="", meta={"messages": [ASK], "reference": "42"})
    assert document_row(marked).reference == "42"
    with pytest.raises(ChatError, match="d3 is no conversation"):
        document_row(Document(id="d3", text="x"))
    with pytest.raises(ChatError, match="d4 is no prompt"):
        document_row(Document(id="d4", text="", meta={"messages": [1]}))


def test_the_fingerprint_follows_ids_texts_and_references():
    def made(**change):
        row = {"messages": (Message(**ASK),), "reference": "42"} | change
        return chat_prompts([PromptRow(**row)], ByteTokenizer(), max_tokens=100).fingerprint

    assert made() == made()
    assert len({made(), made(reference="43"), made(messages=(Message(role="user", content="7?"),))}) == 3


def test_bad_prompts_are_refused(tmp_path):
    with pytest.raises(ChatError, match="No prompts"):
        Prompts([])
    with pytest.raises(ContextLengthError, match="prompt 0 has"):
        chat_prompts([PromptRow(messages=(Message(**ASK),))], ByteTokenizer(), max_tokens=5)
    with pytest.raises(ChatError, match="prompt 0"):
        chat_prompts([PromptRow(messages=(Message(**SAY),))], ByteTokenizer(), max_tokens=50)
    with pytest.raises(DocumentError, match="line 2"):
        read_prompts(write(tmp_path / "rows.jsonl", {"messages": [ASK]}, {"prompt": "x"}))
    with pytest.raises(DocumentError, match="cannot be read"):
        read_prompts(tmp_path / "none.jsonl")
