import numpy as np
import pytest
import tokenizers
import torch
import transformers
from tokenizers import models, pre_tokenizers

from mainspring.errors import ContextLengthError, WeightsError
from mainspring.models import embed
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import family
from mainspring.models.model import Model
from mainspring.models.published import task_of
from mainspring.models.rehead import with_head
from mainspring.models.rerank import TextReranker
from mainspring.models.save import save
from mainspring.tokenizer.base import Tokenizer

WORDS = "the owner of spring winds it and wheels turn".split()  # noqa: SIM905
QUERY = "wheels turn"


def make_tokenizer(max_tokens=16):
    vocab = {token: number for number, token in enumerate(["[UNK]", "[PAD]", "[CLS]", "[SEP]", *WORDS])}
    backend = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    return Tokenizer(backend, bos="[CLS]", eos="[SEP]", max_length=max_tokens)


def make_model(name="bert"):
    torch.manual_seed(0)
    model = with_head(Model(family(name).tiny()), "classify", num_labels=1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def texts(count):
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, size=generator.integers(1, 20))) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_scores_are_those_of_the_published_class_for_pairs_as_it_writes_them(tmp_path, name):
    model, tokenizer = make_model(name), make_tokenizer()
    save(model, tmp_path)
    kind = getattr(transformers, f"{name.capitalize()}ForSequenceClassification")
    theirs = kind.from_pretrained(tmp_path, attn_implementation="eager").eval()
    first, last = [tokenizer.special["[CLS]"]], [tokenizer.special["[SEP]"]]
    head = [*first, *tokenizer.encode(QUERY), *last, *(last if name == "roberta" else [])]
    wanted = []
    for text in texts(12):
        tail = [*tokenizer.encode(text)[: 15 - len(head)], *last]
        types = (
            {"token_type_ids": torch.tensor([[0] * len(head) + [1] * len(tail)])} if name == "bert" else {}
        )
        ids = torch.tensor([head + tail])
        mask = torch.ones_like(ids)
        with torch.no_grad():
            wanted.append(theirs(input_ids=ids, attention_mask=mask, **types).logits.sigmoid().item())
    scores = TextReranker(model, tokenizer, name="tiny").scores(QUERY, texts(12))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, wanted, atol=1e-6)
    plain = TextReranker(model, tokenizer, name="tiny", is_published=False).scores(QUERY, texts(12))
    assert min(np.ptp(scores), np.abs(plain - scores).max()) > 1e-3, "a wrong layout would not be seen"


def test_a_pair_is_scored_as_alone_whatever_it_is_packed_with(monkeypatch):
    reranker, many = TextReranker(make_model(), make_tokenizer(), name="tiny"), texts(40)
    alone = np.concatenate([reranker.scores(QUERY, [text]) for text in many])
    monkeypatch.setattr(embed, "TOKENS_A_PACK", 64)
    np.testing.assert_allclose(reranker.scores(QUERY, many), alone, atol=1e-5)


def test_one_that_was_trained_here_sees_one_text_without_types():
    model, tokenizer = make_model(), make_tokenizer()
    trained = TextReranker(model, tokenizer, name="tiny", is_published=False).scores(QUERY, ["the spring"])
    ids = [2, *tokenizer.encode(QUERY), 3, *tokenizer.encode("the spring"), 3]
    with torch.no_grad():
        hidden_TD = model(torch.tensor(ids), torch.arange(len(ids)), PackedAttend([len(ids)]))
        wanted = model.logits(hidden_TD[:1]).sigmoid().item()
    np.testing.assert_allclose(trained, [wanted], atol=1e-6)


def test_a_query_without_room_behind_it_and_a_model_without_a_score_are_refused():
    with pytest.raises(ContextLengthError, match="Shorten it"):
        TextReranker(make_model(), make_tokenizer(6), name="tiny").scores("the owner of spring", ["x"])
    with pytest.raises(WeightsError, match="its head is missing"):
        TextReranker(Model(family("bert").tiny()), make_tokenizer(), name="tiny")


@pytest.mark.parametrize(
    ("name", "labels", "facts", "task"),
    [
        ("bert", 1, {}, "rerank"),
        ("bert", 1, {"objective": {"kind": "rerank"}}, "rerank"),
        ("bert", 1, {"objective": {"kind": "reward"}}, ""),
        ("bert", 3, {}, ""),
        ("bert", 0, {}, "embedding"),
        ("llama", 1, {}, ""),
        ("llama", 1, {"objective": {"kind": "rerank"}}, "rerank"),
        ("llama", 0, {}, "chat"),
    ],
)
def test_files_say_what_a_model_can_be_served_for(tmp_path, name, labels, facts, task):
    model = Model(family(name).tiny())
    save(with_head(model, "classify", num_labels=labels) if labels else model, tmp_path)
    assert task_of(tmp_path, facts) == task
    assert task_of(tmp_path / "nothing", facts) == ""
