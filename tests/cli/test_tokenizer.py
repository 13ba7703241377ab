"""mainspring tokenizer, verb by verb."""

import json

import pytest

from fakes_texts import many_texts
from mainspring.tokenizer.base import Tokenizer


@pytest.fixture
def corpus(tmp_path):
    for language, seed in (("en", 1), ("xx", 2)):
        (tmp_path / "corpus" / language).mkdir(parents=True)
        for number, text in enumerate(many_texts(40, seed)):
            (tmp_path / "corpus" / language / f"{number}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "corpus" / "en" / "bad.txt").write_bytes(b"\0\1")
    return tmp_path / "corpus"


def test_a_tokenizer_is_trained_from_documents_and_kept(run, corpus, tmp_path):
    code, out, error = run(
        "tokenizer",
        "train",
        corpus,
        "--name",
        "mine",
        "-o",
        "vocab_size=400",
        "--workspace",
        tmp_path / "w",
        "--json",
    )
    said = json.loads(out)
    assert (code, said["tokenizer"], said["ids"]) == (0, "tokenizer/mine@1", 400)
    assert "passed over: en/bad.txt" in error
    assert Tokenizer.load(tmp_path / "w" / "artifacts" / "tokenizer" / "mine" / "1").vocab_size == 400


@pytest.mark.slow
def test_sizes_and_kinds_are_compared_on_texts_kept_apart(run, corpus, root, tmp_path):
    code, out, _ = run(
        "tokenizer", "compare", corpus, "--sizes", "320,400", "--kinds", "bpe,unigram", "--with", "smollm2",
        "--plot", tmp_path / "a.png", "--workspace", root, "--json",
    )  # fmt: skip
    rows = json.loads(out)
    assert code == 0
    assert [row["name"] for row in rows] == ["bpe 320", "bpe 400", "unigram 320", "unigram 400", "smollm2"]
    assert set(rows[0]["fertility"]) == {"en", "xx"}
    assert (tmp_path / "a.png").exists()


@pytest.mark.slow
def test_the_classic_view_shows_words_beside_ids(run, corpus, root):
    code, out, _ = run(
        "tokenizer",
        "classic",
        "The river turns the wheel.",
        "--corpus",
        corpus,
        "--workspace",
        root,
        "--json",
    )
    said = json.loads(out)
    assert code == 0
    assert [word["text"] for word in said["words"]] == ["The", "river", "turns", "the", "wheel", "."]
    assert "river" in said["weights"]
    assert "turns (ROOT)" in run("tokenizer", "classic", "The river turns the wheel.", "--workspace", root)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "CORPUS", "-o", "vocab_size=90000"], "support only"),
        (["train", "CORPUS", "-o", "kind=bpee"], "`kind` is 'bpee'"),
        (["train", "nowhere"], "does not exist"),
        (["compare", "CORPUS", "--sizes", "many"], "write whole numbers"),
        (
            ["classic", "a text", "--with", "nobody"],
            "There is no tokenizer 'nobody'; there is model/minilm@1",
        ),
    ],
)
def test_bad_input_is_told(run, corpus, root, arguments, message):
    arguments = [corpus if each == "CORPUS" else each for each in arguments]
    code, _, error = run("tokenizer", *arguments, "--workspace", root)
    assert code == 2
    assert message in error


@pytest.mark.slow
def test_small_models_tell_which_vocabulary_is_worth_more(run, corpus, root):
    arguments = ["tokenizer", "compare", corpus, "--sizes", "300,500", "--workspace", root, "--json"]
    values = (
        "steps=16",
        "width=32",
        "layers=1",
        "pieces_per_step=4",
        "piece_bytes=64",
        "held_out_pieces=8",
        "threads=1",
    )
    small = [part for value in values for part in ("-o", value)]
    code, out, error = run(*arguments, "--loss", *small)
    assert code == 0, error
    few, many = json.loads(out)
    assert few["is_lossless"]
    assert many["parameters"] - few["parameters"] == 200 * 32
    for each in (few, many):
        assert 1.0 < each["bits_per_byte"] < 8.0  # learnt something; 8 is a coin for every bit
    code, _, error = run(*arguments, *small)
    assert (code, "Give --loss" in error) == (2, True)
