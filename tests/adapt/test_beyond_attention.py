"""Adapters on mixers with states and on sparse attention: trained, merged, and read by peft."""

import pytest
import torch
from peft import PeftModel

from mainspring.adapt import base as adapters
from mainspring.adapt import lora, store
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import family
from mainspring.models.model import Model
from mainspring.models.save import save
from oracle_transformers import class_of

TARGETS = {
    "mamba2": ("up",),
    "jamba": ("q", "o", "select"),
    "qwen3_next": ("q", "qkvz", "ba", "out"),
}
IDS = torch.arange(30) * 7 % 250 + 3


def scores(model):
    return model.logits(model(IDS, torch.arange(30), PackedAttend([13, 17])))


def lively(model, targets):
    """The model with an adapter that says something."""
    lora.add(model, lora.Lora(rank=4, alpha=6, targets=targets), "a")
    for pair in lora.pairs(model, "a").values():
        torch.nn.init.normal_(pair.b_OR, std=0.1)
    adapters.activate(model, "a")
    return model


@pytest.mark.parametrize("name", [*TARGETS, "longformer"])
def test_an_adapter_of_every_linear_gets_gradients_and_merges_into_the_same_scores(name):
    torch.manual_seed(0)
    model = Model(family(name).tiny()).eval()
    named = model.blocks[0].mixer.named_children()
    linears = tuple(part for part, module in named if isinstance(module, torch.nn.Linear))
    lively(model, linears)
    before = scores(model)
    before.square().mean().backward()
    for path, pair in lora.pairs(model, "a").items():
        assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in pair.parameters()), path
    lora.merge(model, "a")
    torch.testing.assert_close(scores(model), before, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", TARGETS)
def test_peft_reads_the_adapter_and_gives_the_same_scores(name, tmp_path):
    torch.manual_seed(0)
    model = Model(family(name).tiny()).eval()
    save(model, tmp_path / "model")
    theirs = class_of(tmp_path / "model").from_pretrained(tmp_path / "model", attn_implementation="eager")
    lively(model, TARGETS[name])
    store.save(model, "a", tmp_path / "adapter")
    with torch.no_grad():
        plain = theirs.eval()(IDS[None]).logits[0]
        wrapped = PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
        expected = wrapped(input_ids=IDS[None]).logits[0]
        found = model.logits(model(IDS, torch.arange(30), PackedAttend([30])))
    assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
    assert (plain - expected).abs().max() > 0.01
