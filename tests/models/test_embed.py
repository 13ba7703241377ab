import numpy as np
import pytest
import tokenizers
import torch
from tokenizers import models, pre_tokenizers

from mainspring.errors import WeightsError
from mainspring.models import embed
from mainspring.models.embed import TextEmbedder
from mainspring.models.families.base import family
from mainspring.models.model import Model
from mainspring.models.save import save
from mainspring.tokenizer.base import Tokenizer

WORDS = "the owner of spring winds it and wheels turn".split()  # noqa: SIM905


def make_embedder(max_tokens=16, pooling="mean"):
    vocab = {token: number for number, token in enumerate(["[UNK]", "[CLS]", "[SEP]", *WORDS])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    torch.manual_seed(0)
    model = Model(family("bert").tiny().model_copy(update={"pooling": pooling})).eval()
    tokenizer = Tokenizer(backend, bos="[CLS]", eos="[SEP]", max_length=max_tokens)
    return TextEmbedder(model, tokenizer, name="tiny", fingerprint="f", max_tokens=max_tokens)


def texts(count):
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, size=generator.integers(0, 12))) for _ in range(count)]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_each_text_gets_the_vector_it_gets_alone_whatever_it_is_packed_with(pooling, monkeypatch):
    embedder = make_embedder(pooling=pooling)
    many = texts(60)
    alone = np.concatenate([embedder.embed([text]) for text in many])
    monkeypatch.setattr(embed, "TOKENS_A_PACK", 64)
    monkeypatch.setattr(embed, "TEXTS_A_WINDOW", 23)
    advanced: list[int] = []
    packed = embedder.embed(many, advance=advanced.append)
    assert packed.dtype == np.float32
    np.testing.assert_allclose(packed, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(packed, axis=1), 1, atol=1e-6)
    assert sum(advanced) == 60


def test_no_texts_give_no_vectors():
    assert make_embedder().embed([]).shape == (0, 64)


def test_a_long_text_is_cut_where_the_model_ends_and_counted_whole():
    embedder = make_embedder(max_tokens=6)
    long = "the owner winds it and the wheels turn"
    assert embedder.count_tokens([long, ""]) == [10, 2]
    np.testing.assert_array_equal(embedder.embed([long]), embedder.embed(["the owner winds it"]))


def test_special_token_text_does_not_end_a_text():
    embedder = make_embedder()
    one, other = embedder.embed(["turn [SEP] wheels", "turn"])
    assert not np.allclose(one, other)
    assert embedder.count_tokens(["[SEP]"]) == [5]


def test_a_saved_encoder_loads_with_its_limit(tmp_path):
    embedder = make_embedder()
    save(embedder._model, tmp_path)
    embedder._tokenizer.save(tmp_path)
    loaded = TextEmbedder.load(tmp_path, name="tiny", fingerprint="f")
    assert loaded.max_tokens == 16
    np.testing.assert_array_equal(loaded.embed(texts(5)), embedder.embed(texts(5)))
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 8}', encoding="utf-8")
    assert TextEmbedder.load(tmp_path, name="tiny", fingerprint="f").max_tokens == 8


def test_a_model_that_predicts_tokens_is_refused(tiny_tokenizer):
    with pytest.raises(WeightsError, match="'chatty' does not embed text: its family is llama"):
        TextEmbedder(
            Model(family("llama").tiny()), tiny_tokenizer, name="chatty", fingerprint="", max_tokens=8
        )
