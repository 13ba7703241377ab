import pytest
import torch

from fakes_bpe import make_tokenizer
from fakes_datasets import chat
from mainspring.chat import render
from mainspring.data.document import Document
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import family
from mainspring.models.model import Model
from mainspring.schema import Message
from mainspring.train.document_nll import document_nll


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    kind = family("llama")
    return Model(
        kind.config({**kind.published(kind.tiny()), "vocab_size": 288, "max_position_embeddings": 64})
    ).eval()


def slow_nll(model, ids, weight):
    """The formula, one document at a time."""
    ids_T = torch.tensor(ids)
    with torch.inference_mode():
        logits = model.logits(model(ids_T, torch.arange(len(ids)), PackedAttend([len(ids)])))
    logp = torch.log_softmax(logits.double(), dim=-1)
    kept = [place for place in range(1, len(ids)) if weight[place]]
    return -sum(float(logp[place - 1, ids[place]]) for place in kept) / len(kept)


def test_every_document_has_the_loss_that_it_has_alone(model):
    tokenizer = make_tokenizer()
    turn = chat(1, "Who winds it?", "The owner.")
    texts = [Document(id=f"d{n}", text="the spring turns the wheels " * n) for n in (1, 9, 2)]
    found = list(document_nll(model, tokenizer, [*texts, Document(id="e", text=" "), turn]))
    assert [name for name, _ in found] == ["d1", "d9", "d2", "c#1"]
    rendered = render([Message(**each) for each in turn.meta["messages"]], tokenizer)
    wanted = [[*tokenizer.encode(each.text), tokenizer.special["<|im_end|>"]] for each in texts]
    pairs = [*((ids[:64], [1] * len(ids)) for ids in wanted), (rendered.ids[:64], rendered.weight[:64])]
    for (_, nll), (ids, weight) in zip(found, pairs, strict=True):
        assert nll == pytest.approx(slow_nll(model, ids, weight), rel=1e-4)
