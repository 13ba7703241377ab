import json
import struct

import numpy as np
import pytest
import tokenizers
import transformers
from hypothesis import given, settings
from tokenizers import models, pre_tokenizers, trainers

from fakes_fragments import CORPUS, TEXTS
from fakes_gguf import metadata_of
from mainspring.errors import WeightsError
from mainspring.tokenizer.gguf.read import from_gguf

SPECIAL = ["<pad>", "</s>", "<unk>"]


def charsmap(mark, becomes):
    """SentencePiece's compiled rules with a single one: an ASCII mark becomes a text.

    A double array as darts-clone lays it out: the root leads to the mark's unit, that to the leaf.
    """
    units = np.zeros(256, "<u4")
    units[0] = 1 << 10
    units[1 ^ ord(mark)] = 4 << 10 | 1 << 8 | ord(mark)
    return struct.pack("<I", units.nbytes) + units.tobytes() + becomes.encode() + b"\0"


RULES = charsmap("&", "and $")


@pytest.fixture(scope="module")
def pieces():
    trained = tokenizers.Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    trained.train_from_iterator([CORPUS.replace("🦙", "").replace("<s>", "")] * 2, trainer)
    rows = json_of(trained)["model"]["vocab"]
    return [(piece, float(np.float32(score))) for piece, score in rows]  # as SentencePiece's files have them


def json_of(backend):
    return json.loads(backend.to_str())


def said(pieces, folder, **flags):
    backend = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=2))
    backend.add_special_tokens(SPECIAL)
    return metadata_of(backend, folder / "a.gguf", eos_token_id=1, pad_token_id=0, **flags)


def theirs_of(pieces, **more):
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, **more)


def texts():
    return TEXTS.filter(lambda text: not any(special in text for special in SPECIAL))


@pytest.fixture(scope="module")
def both(pieces, tmp_path_factory):
    """Ours and the published one; then the same two with a compiled rule."""
    folder = tmp_path_factory.mktemp("gguf")
    ruled = from_gguf(said(pieces, folder, precompiled_charsmap=RULES))
    theirs = theirs_of(pieces), theirs_of(pieces, _spm_precompiled_charsmap=RULES)
    return (from_gguf(said(pieces, folder)), theirs[0]), (ruled, theirs[1])


@given(text=texts())
def test_ids_are_those_of_transformers_own_class(both, text):
    made, theirs = both[0]
    ids = theirs.encode(text, add_special_tokens=False)
    assert made.encode(text) == ids
    assert made.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


@settings(max_examples=30)
@given(text=texts())
def test_compiled_rules_rewrite_the_text_first(both, text):
    made, theirs = both[1]
    assert made.encode(f"{text} & {text}") == theirs.encode(f"{text} & {text}", add_special_tokens=False)
    assert made.encode("a & b") == both[0][0].encode("a and $ b")


def test_fillers_behind_the_last_piece_change_nothing(tmp_path, pieces):
    fields = said(pieces, tmp_path)
    expected = from_gguf(fields).encode("漢字 [PAD9] 🦙 the owner")
    for key, more in (("tokens", ["[PAD9]", "[PAD10]"]), ("scores", [-10000.0] * 2), ("token_type", [5, 5])):
        fields[f"tokenizer.ggml.{key}"] = fields[f"tokenizer.ggml.{key}"] + more
    assert from_gguf(fields).encode("漢字 [PAD9] 🦙 the owner") == expected


def test_spaces_are_kept_where_the_file_says_so(tmp_path, pieces):
    kept = from_gguf(said(pieces, tmp_path, add_space_prefix=False, remove_extra_whitespaces=False))
    assert kept.decode(kept.encode("a  b")) == "a  b"
    joined = from_gguf(said(pieces, tmp_path))
    assert joined.encode("a  b") == joined.encode(" a b ")


def test_a_text_ends_with_the_last_token_for_others_that_read_it(tmp_path, pieces):
    made = from_gguf(said(pieces, tmp_path))
    made.save(tmp_path / "made")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "made")
    assert theirs("it winds")["input_ids"] == [*made.encode("it winds"), 1]


def test_rules_that_do_not_read_and_an_unknown_token_that_is_none_are_named(tmp_path, pieces):
    with pytest.raises(WeightsError, match="cannot be built"):
        from_gguf(said(pieces, tmp_path, precompiled_charsmap=b"\xff\xff"))
    fields = said(pieces, tmp_path)
    fields["tokenizer.ggml.token_type"] = [1] * len(fields["tokenizer.ggml.tokens"])
    del fields["tokenizer.ggml.eos_token_id"]
    with pytest.raises(WeightsError, match="names no unknown token"):
        from_gguf(fields)
