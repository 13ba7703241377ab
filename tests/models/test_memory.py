"""The memory beside the formula, and what it is for: text it has seen becomes likelier."""

import pytest
import torch

from fakes_bpe import make_tokenizer
from fakes_llama import tiny_llama
from mainspring.errors import DocumentError, UserError, WeightsError
from mainspring.models import memory as memories
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import family
from mainspring.models.generate import generate
from mainspring.models.memory import Memory, MemorySettings, recall, remember
from mainspring.models.model import Model

TEXTS = ["the owner of the spring winds it", "and the wheels turn", "x"]
TOKENIZER = make_tokenizer()


def hidden(model, ids):
    with torch.no_grad():
        return model(torch.tensor(ids), torch.arange(len(ids)), PackedAttend([len(ids)]))


def by_the_formula(memory, hidden_D, scores_V):
    far = ((memory.keys_SD - hidden_D) ** 2).sum(1)
    nearest = sorted(range(len(far)), key=lambda place: float(far[place]))[: memory.settings.neighbours]
    votes = torch.exp(-far[nearest] / memory.settings.temperature)
    votes /= votes.sum()
    remembered = torch.zeros_like(scores_V)
    for place, vote in zip(nearest, votes, strict=True):
        remembered[memory.next_S[place]] += vote
    return memory.settings.weight * remembered + (1 - memory.settings.weight) * scores_V.softmax(-1)


@pytest.mark.parametrize("rows_a_time", [7, 10_000])
def test_probabilities_equal_the_formula(monkeypatch, rows_a_time):
    monkeypatch.setattr(memories, "ROWS_A_TIME", rows_a_time)
    generator = torch.Generator().manual_seed(0)
    keys, following = torch.randn(50, 16, generator=generator), torch.randint(9, (50,), generator=generator)
    memory = Memory(keys, following, MemorySettings(weight=0.4, neighbours=11, temperature=3.0))
    hidden_ND, scores_NV = torch.randn(4, 16, generator=generator), torch.randn(4, 9, generator=generator)
    found = memory.log_probabilities(hidden_ND, scores_NV).exp()
    expected = torch.stack([by_the_formula(memory, *row) for row in zip(hidden_ND, scores_NV, strict=True)])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.sum(1), torch.ones(4))


def test_every_context_is_remembered_with_what_followed(tmp_path):
    model = tiny_llama()
    count = remember(model, TOKENIZER, TEXTS, tmp_path / "m")
    ids = [TOKENIZER.encode(text) for text in TEXTS]
    assert count == sum(len(each) - 1 for each in ids)
    memory = recall(tmp_path / "m", model, TOKENIZER, MemorySettings())
    assert memory.next_S.tolist() == [each for text in ids for each in text[1:]]
    torch.testing.assert_close(memory.keys_SD[: len(ids[0]) - 1], hidden(model, ids[0][:-1]))


def test_a_text_that_is_remembered_becomes_likelier_and_is_continued(tmp_path):
    model = tiny_llama()
    remember(model, TOKENIZER, TEXTS, tmp_path / "m")
    memory = recall(
        tmp_path / "m", model, TOKENIZER, MemorySettings(weight=0.9, neighbours=3, temperature=0.1)
    )
    ids = TOKENIZER.encode(TEXTS[0])
    states = hidden(model, ids[:-1])
    target = torch.tensor(ids[1:]).unsqueeze(1)
    with torch.no_grad():
        scores = model.logits(states)
    own = scores.log_softmax(-1).gather(1, target).mean()
    mixed = memory.log_probabilities(states, scores).gather(1, target).mean()
    assert mixed > own + 1
    assert list(generate(model, ids[:4], len(ids) - 4, memory=memory)) == ids[4:]
    assert list(generate(model, ids[:4], len(ids) - 4)) != ids[4:]


def test_a_text_longer_than_the_context_is_remembered_in_pieces(tmp_path):
    model = tiny_llama()
    text = "wheels turn " * 90
    count = remember(model, TOKENIZER, [text], tmp_path / "m")
    assert count == len(TOKENIZER.encode(text)) - 1 > model.config.context


def test_what_cannot_be_remembered_or_recalled_is_told(tmp_path):
    model = tiny_llama()
    with pytest.raises(DocumentError, match="nothing to remember"):
        remember(model, TOKENIZER, ["x"], tmp_path / "m")
    remember(model, TOKENIZER, TEXTS, tmp_path / "m")
    with pytest.raises(UserError, match="exists already"):
        remember(model, TOKENIZER, TEXTS, tmp_path / "m")
    with pytest.raises(UserError, match="language model without an encoder"):
        remember(Model(family("bert").tiny()), TOKENIZER, TEXTS, tmp_path / "n")
    with pytest.raises(WeightsError, match="is no memory"):
        recall(tmp_path, model, TOKENIZER, MemorySettings())
    other = Model(
        family("llama").config({**family("llama").published(family("llama").tiny()), "hidden_size": 32})
    )
    with pytest.raises(WeightsError, match="made by another model: width 64"):
        recall(tmp_path / "m", other, TOKENIZER, MemorySettings())
