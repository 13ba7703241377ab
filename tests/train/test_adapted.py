"""Runs that train adapters of every LoRA kind: stopped and resumed to the same bits."""

import pytest
import torch

from fakes_llama import tiny_llama
from fakes_tokenizer import ByteTokenizer, conversations
from mainspring.adapt.lora import Lora, QLora
from mainspring.config import build
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.sft import Sft
from mainspring.train.sources.chats import ChatSource

KINDS = {
    "dora": Lora(rank=4, dora=True),
    "dropout": Lora(rank=4, dropout=0.3),
    "nf4": QLora(rank=4, dropout=0.3),
    "int4": QLora(rank=4, bits="int4", block=32, double_quantization=False),
}
SETTINGS = {
    "epochs": 2, "items_per_step": 2, "save_every_steps": 2, "plan": {"micro_batch_tokens": 128, "threads": 1},
}  # fmt: skip


class StopError(Exception):
    pass


def stop_after_three(report):
    if report.step == 3:
        raise StopError


def adapted(kind):
    model = tiny_llama().eval()
    KINDS[kind].apply(model, seed=0)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_run_goes_on_to_the_same_bits(kind, tmp_path):
    source = ChatSource(conversations("red", "green", "blue", "none"), ByteTokenizer(), max_tokens=128)
    config = build(TrainConfig, SETTINGS)
    whole, again = adapted(kind), adapted(kind)
    began = [each.detach().clone() for each in whole.parameters() if each.requires_grad]
    expected = train(whole, source, Sft(), config, tmp_path / "whole")
    with pytest.raises(StopError):
        train(adapted(kind), source, Sft(), config, tmp_path / "parts", on_step=stop_after_three)
    result = train(again, source, Sft(), config, tmp_path / "parts")
    assert (result.resumed_at, result.loss) == (2, expected.loss)
    trained = [each for each in whole.parameters() if each.requires_grad]
    assert not any(torch.equal(*both) for both in zip(trained, began, strict=True))
    assert all(torch.equal(*both) for both in zip(whole.parameters(), again.parameters(), strict=True))
