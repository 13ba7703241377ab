import pytest
import tokenizers
import transformers
from hypothesis import given
from tokenizers import models, normalizers, pre_tokenizers, trainers

from fakes_fragments import CORPUS, TEXTS
from fakes_gguf import metadata_of
from mainspring.errors import WeightsError
from mainspring.tokenizer.gguf.read import from_gguf

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
IDS = {"bos_token_id": 2, "eos_token_id": 3, "unk_token_id": 1, "pad_token_id": 0}


def original(lowercase):
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=SPECIAL, show_progress=False, limit_alphabet=80
    )
    backend.train_from_iterator([CORPUS], trainer)
    return backend


BACKENDS = {True: original(lowercase=True), False: original(lowercase=False)}


@pytest.fixture(scope="module", params=[True, False])
def both(request, tmp_path_factory):
    """Ours and the published one, lowering text or not."""
    backend = BACKENDS[request.param]
    made = from_gguf(metadata_of(backend, tmp_path_factory.mktemp("x") / "a.gguf", **IDS))
    return made, transformers.BertTokenizer(vocab=backend.get_vocab(), do_lower_case=request.param)


@given(text=TEXTS)
def test_ids_are_those_of_transformers_own_class(both, text):
    made, theirs = both
    ids = theirs.encode(text, add_special_tokens=False)
    assert made.encode(text) == ids
    assert made.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


def test_a_word_of_the_file_beats_the_look_at_the_vocabulary(tmp_path):
    fields = metadata_of(BACKENDS[False], tmp_path / "a.gguf", **IDS)
    lowered = from_gguf({**fields, "tokenizer.ggml.normalizer.lowercase": True})
    assert lowered.encode("THE Owner") == lowered.encode("the owner") != from_gguf(fields).encode("THE Owner")


@pytest.mark.parametrize("ids", [IDS, {"unk_token_id": 1}])
def test_a_text_stands_between_two_tokens_even_where_the_file_names_none(tmp_path, ids):
    made = from_gguf(metadata_of(BACKENDS[True], tmp_path / "a.gguf", **ids))
    assert (made.bos, made.eos) == ("[CLS]", "[SEP]")
    assert list(made.special) == SPECIAL
    made.save(tmp_path / "made")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "made")
    assert theirs("it winds")["input_ids"] == [2, *made.encode("it winds"), 3]


def test_special_text_is_never_a_special_token(tmp_path):
    made = from_gguf(metadata_of(BACKENDS[True], tmp_path / "a.gguf", **IDS))
    assert not {2, 3} & set(made.encode("[CLS] a [SEP]"))


def test_a_vocabulary_without_an_unknown_token_is_named(tmp_path):
    fields = metadata_of(BACKENDS[True], tmp_path / "a.gguf")
    with pytest.raises(WeightsError, match="names no unknown token"):
        from_gguf(fields)
