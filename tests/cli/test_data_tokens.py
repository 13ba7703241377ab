"""data shard and data peek --tokens, as functions of a small command line of their own."""

import json

import pytest
import typer
from typer.testing import CliRunner

from fakes_bpe import make_tokenizer
from mainspring import artifact as artifacts
from mainspring.app import Workspace
from mainspring.cli.data_shard import shard
from mainspring.cli.data_tokens import peek_tokens
from mainspring.data.document import Document, write_documents
from mainspring.errors import NotFoundError, UserError

TURNS = [{"role": "user", "content": "Who winds it?"}, {"role": "assistant", "content": "The owner."}]
DOCUMENTS = [
    Document(id="a#0", text="the spring turns the wheels"),
    Document(id="a#1", text=""),
    Document(id="a#2", text="", meta={"messages": TURNS}),
]


@pytest.fixture
def root(tmp_path):
    def fill(folder):
        (folder / "documents").mkdir()
        write_documents(folder / "documents" / "train-00000.jsonl", DOCUMENTS)

    with Workspace(tmp_path / "w") as workspace:
        registry = workspace.registry
        registry.add(artifacts.write(registry.root, "dataset", "books", fill))
        registry.add(artifacts.write(registry.root, "tokenizer", "small", make_tokenizer().save))
    return tmp_path / "w"


@pytest.fixture
def call(root):
    app = typer.Typer()
    app.command("shard")(shard)
    app.command("tokens")(peek_tokens)

    def run(*arguments):
        result = CliRunner().invoke(app, [*map(str, arguments), "--workspace", str(root)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return run


def test_documents_become_shards_and_their_tokens_are_shown(call):
    out = call("shard", "books", "--tokenizer", "small")
    assert "dataset/books-tokens@1" in out
    assert "skipped in train: 1 empty, the first is a#1" in out
    assert "next  mainspring data peek --tokens books-tokens" in out
    shown = call("tokens", "books-tokens", "--count", 5)
    assert "segment 0  a#0  dataset/books-tokens@1" in shown
    assert "'<|im_end|>'" in shown
    assert shown.count("segment ") == 2


def test_the_same_as_json(call):
    made = json.loads(call("shard", "books", "--tokenizer", "tokenizer/small@1", "--name", "mine", "--json"))
    assert made["dataset"] == "dataset/mine@1"
    assert made["splits"][0]["skipped"] == [{"document": "a#1", "reason": "empty"}]
    said = json.loads(call("tokens", "mine", "--document", "a#2", "--json"))
    (segment,) = said["segments"]
    assert segment["document"] == "a#2"
    answer = "".join(token["text"] for token in segment["tokens"] if token["weight"])
    assert answer == "The owner.<|im_end|>"
    assert said["total_segments"] == 2


def test_rows_are_shown_as_training_packs_them(call):
    call("shard", "books", "--tokenizer", "small")
    call("shard", "books", "--tokenizer", "small", "--name", "more")
    mix = ["-o", "tokens_per_row=128", "-o", "mix.weights={books-tokens: 1, more: 2}"]
    said = json.loads(call("tokens", "books-tokens", "more", "--packed", "--count", 9, *mix, "--json"))
    assert {each["dataset"] for each in said["segments"]} == {"books-tokens", "more"}
    assert 0 < said["utilization"] <= 1
    assert said["passes"]["more"] == pytest.approx(2 * said["passes"]["books-tokens"])
    shown = call("tokens", "books-tokens", "--packed")
    assert "row 0" in shown
    assert "utilization" in shown


def test_what_cannot_be_shown_says_why(call):
    with pytest.raises(NotFoundError, match="data shard books --tokenizer"):
        call("tokens", "books")
    call("shard", "books", "--tokenizer", "small")
    with pytest.raises(NotFoundError, match="there are 2, counted from 0"):
        call("tokens", "books-tokens", "--segment", 2)
    with pytest.raises(NotFoundError, match="comes from 'a#1'"):
        call("tokens", "books-tokens", "--document", "a#1")
    with pytest.raises(UserError, match="for --packed"):
        call("tokens", "books-tokens", "-o", "seed=1")
