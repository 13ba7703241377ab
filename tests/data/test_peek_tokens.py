import pytest

from mainspring.config import build
from mainspring.data.document import Document
from mainspring.data.loader import Loader
from mainspring.data.peek_tokens import peek_rows, peek_tokens
from mainspring.data.shard import write_shards
from mainspring.data.shards import Shards
from mainspring.data.window import LoaderConfig

TURNS = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Du, 是."}]


@pytest.fixture
def shards(tmp_path, tiny_tokenizer):
    documents = [
        Document(id="a.txt", text="the spring\n"),
        Document(id="chat#3", text="", meta={"messages": TURNS}),
        Document(id="b.txt", text="it turns " * 30),
    ]
    write_shards(documents, tiny_tokenizer, tmp_path)
    return Shards(tmp_path)


def test_every_token_is_shown_with_text_weight_segment_and_document(shards, tiny_tokenizer):
    text, chat = peek_tokens(shards, tiny_tokenizer, [0, 1], "dataset/x@1")
    assert (text.document, text.segment, text.dataset) == ("a.txt", 0, "dataset/x@1")
    assert "".join(token.text for token in text.tokens) == "the spring\n<|im_end|>"
    assert [token.id for token in text.tokens] == shards.segment(0).ids.tolist()
    assert text.num_trained == len(text.tokens) - 1
    trained = [token for token in chat.tokens if token.weight]
    assert tiny_tokenizer.decode([token.id for token in trained]) == "Du, 是."
    assert trained[-1].text == "<|im_end|>"
    assert chat.num_trained == len(trained)
    assert "�" in [token.text for token in trained]  # a byte of 是


def test_rows_are_shown_as_they_are_packed(shards, tiny_tokenizer):
    loader = Loader({"x": shards}, build(LoaderConfig, {"tokens_per_row": 64, "order": {"by": "written"}}))
    found = list(peek_rows(loader, tiny_tokenizer, 2))
    rows = [row for step in loader.steps() for row in step.rows][:2]
    assert {each.row for each in found} == {0, 1}
    for number, row in enumerate(rows):
        mine = [each for each in found if each.row == number]
        assert [token.id for each in mine for token in each.tokens] == row.ids.tolist()
        assert [(each.document, each.offset) for each in mine] == [
            (p.document, p.offset) for p in row.segments
        ]
