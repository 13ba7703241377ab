import pytest
import torch

from fakes_llama import tiny_llama
from fakes_tokenizer import ByteTokenizer, conversations
from mainspring.config import build
from mainspring.models.attend import PackedAttend
from mainspring.models.parts.block import Block
from mainspring.models.parts.stack import Stack
from mainspring.train.config import TrainConfig
from mainspring.train.dropout import dropping
from mainspring.train.loop import train
from mainspring.train.objectives.sft import Sft
from mainspring.train.sources.chats import ChatSource
from mainspring.train.teacher import answer_nll

IDS = torch.arange(12)


def settings(**values):
    plan = {"threads": 1, "micro_batch_tokens": 256}
    return build(TrainConfig, {"items_per_step": 2, "plan": plan, "optim": {"lr": 1e-2}, **values})


def run(model):
    return model(IDS, IDS, PackedAttend([len(IDS)]))


def mask(x, fraction):
    """arXiv:1207.0580, kept numbers grown so that the mean stays."""
    return torch.empty_like(x).bernoulli_(1 - fraction) / (1 - fraction)


@torch.no_grad()
def by_formula(model, fraction):
    """The model as arXiv:1706.03762, section 5.4 drops: what is added, and the embedding."""

    def dropped(x):
        return x * mask(x, fraction)

    attend = PackedAttend([len(IDS)])

    class Around:
        pos_T, bias, source_SD = IDS, None, None

        def __init__(self):
            self.attend = attend

        def rope(self, spec, size):
            return model._rope(IDS, spec, size)

    x = dropped(model.embedding(IDS))
    for block in model.blocks:
        x = x + dropped(block.mixer(block.mixer_norm(x), Around()))
        x = x + dropped(block.ffn(block.ffn_norm(x)))
    return model.final_norm(x)


def test_what_blocks_add_and_the_embedding_are_dropped_as_the_paper_says(model):
    model.double().train()
    torch.manual_seed(4)
    expected = by_formula(model, 0.3)
    torch.manual_seed(4)
    with dropping(model, 0.3):
        found = run(model)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(run(model), expected)


def test_nothing_is_dropped_but_while_learning_and_within_the_run(model):
    plain = run(model.eval())
    with dropping(model, 0.5):
        assert torch.equal(run(model), plain)
    assert torch.equal(run(model.train()), plain)
    assert {each.dropout for each in model.modules() if isinstance(each, Block | Stack)} == {0.0}


def test_validation_is_of_the_whole_model(tmp_path, model, source):
    told = []
    train(
        model, source, Sft(), settings(epochs=2, dropout=0.5), tmp_path, validation=source,
        on_step=lambda report: told.append(report.metrics),
    )  # fmt: skip
    segments = [source.item(index)[0] for index in range(source.num_items)]
    sizes = [each.trained_tokens for each in segments]
    mean = sum(nll * size for nll, size in zip(answer_nll(model, segments), sizes, strict=True)) / sum(sizes)
    assert told[-1]["valid_loss"] == pytest.approx(mean, rel=1e-5)


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_the_masks_that_it_would_have_drawn(tmp_path):
    source = ChatSource(conversations("red", "green is it", "blue", "no"), ByteTokenizer(), max_tokens=256)
    whole, other, again = tiny_llama(), tiny_llama(), tiny_llama()
    config = settings(epochs=3, save_every_steps=2, dropout=0.3)
    expected = train(whole, source, Sft(), config, tmp_path / "whole")

    def stop(report):
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(other, source, Sft(), config, tmp_path / "parts", on_step=stop)
    result = train(again, source, Sft(), config, tmp_path / "parts")
    assert (result.resumed_at, result.loss) == (2, expected.loss)
    for name, weight in whole.named_parameters():
        assert torch.equal(weight, again.get_parameter(name)), name
