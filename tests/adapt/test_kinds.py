"""Every kind of adapter against peft on the same weights, and against its formula."""

import peft
import pytest
import torch
from peft import get_peft_model

from fakes_llama import tiny_llama
from mainspring.adapt import base as adapters
from mainspring.adapt import ia3, lora, store
from mainspring.adapt.bottleneck import Bottleneck
from mainspring.adapt.freeze import Freeze
from mainspring.adapt.ia3 import Ia3
from mainspring.adapt.lora import Lora, QLora
from mainspring.adapt.prefix import Prefix
from mainspring.adapt.prompt import Prompt
from mainspring.errors import ConfigError
from mainspring.models.attend import PackedAttend
from mainspring.train.plan import Plan
from oracle_llama import PEFT_NAMES, in_transformers

IDS = torch.arange(20) * 7 % 250
KINDS = {
    "lora": Lora(rank=4, targets=("all",)),
    "rslora": Lora(rank=4, rslora=True),
    "dora": Lora(rank=4, dora=True),
    "ia3": Ia3(),
    "prefix": Prefix(num_virtual=5),
    "net": Prefix(num_virtual=5, net_width=3),
    "prompt": Prompt(num_virtual=5),
    "bottleneck": Bottleneck(width=6, where="both", activation="gelu"),
    "qlora": QLora(rank=4),
}
PEFT = {
    "rslora": peft.LoraConfig(r=4, lora_alpha=16, target_modules=PEFT_NAMES, use_rslora=True),
    "dora": peft.LoraConfig(r=4, lora_alpha=16, target_modules=PEFT_NAMES, use_dora=True),
}


def logits(model, ids=IDS):
    return model.logits(model(ids, torch.arange(len(ids)), PackedAttend([len(ids)])))


def lively(model, kind, seed=3):
    """An adapter that changes something."""
    KINDS[kind].apply(model, seed=seed, name="a")
    shake(own(model, "a"))
    return model


def own(model, name):
    """An adapter's weights, in an order that depends on nothing else."""
    return [each for _, part in sorted(adapters.parts(model, name).items()) for each in part.parameters()]


def shake(parameters):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype), alpha=0.05)


def norms(parameters):
    """Of all gradients together, whatever the shapes they are kept in."""
    return sum(float(each.grad.double().square().sum()) for each in parameters) ** 0.5


@pytest.mark.parametrize("kind", PEFT)
def test_peft_reads_our_file_and_has_the_same_scores(tmp_path, kind):
    plain = in_transformers(tiny_llama())
    model = lively(tiny_llama(), kind)
    store.save(model, "a", tmp_path)
    theirs = peft.PeftModel.from_pretrained(plain, tmp_path).eval()
    with torch.no_grad():
        expected = theirs(IDS[None]).logits[0][-len(IDS) :]
        torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", PEFT)
def test_we_read_pefts_file_and_have_the_same_scores_and_gradients(tmp_path, kind):
    model = tiny_llama()
    theirs = get_peft_model(in_transformers(model), PEFT[kind]).eval()
    shake([each for each in theirs.parameters() if each.requires_grad])
    theirs.save_pretrained(tmp_path)
    plain = logits(model)
    store.load(model, tmp_path, "b")
    adapters.activate(model, "b")
    for each in own(model, "b"):
        each.requires_grad_(True)
    ours, expected = logits(model), theirs(IDS[None]).logits[0][-len(IDS) :]
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(ours, plain, atol=1e-3)
    weight = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0))
    (ours * weight).sum().backward()
    (expected * weight).sum().backward()
    sizes = [norms(own(model, "b")), norms([each for each in theirs.parameters() if each.requires_grad])]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_segments_see_only_themselves_and_have_the_gradients_they_have_alone(kind):
    model = lively(tiny_llama(), kind).double()
    lengths = [7, 7, 9]
    pos = torch.cat([torch.arange(length) for length in lengths])
    packed = model(IDS[:20].repeat(2)[:23], pos, PackedAttend(lengths))
    start = 0
    for length in lengths:
        ids = IDS.repeat(2)[start : start + length]
        alone = model(ids, torch.arange(length), PackedAttend([length]))
        torch.testing.assert_close(packed[start : start + length], alone, rtol=1e-9, atol=1e-12)
        start += length


@pytest.mark.parametrize("kind", ["net", "prompt", "bottleneck"])
def test_gradients_are_the_same_when_activations_are_computed_again(kind):
    model = lively(tiny_llama(), kind)
    gradients = []
    for plan in (Plan(threads=1), Plan(checkpointing=True, threads=1)):
        with plan.applied(model):
            gradients.append(torch.autograd.grad(logits(model).square().mean(), own(model, "a")))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", ["ia3", "net", "prompt", "bottleneck"])
def test_half_precision_reads_weights_of_full_precision(kind):
    model = lively(tiny_llama(), kind)
    with torch.no_grad(), Plan(dtype="bf16").autocast():
        found = logits(model).float()
    assert (found - logits(model)).norm() < 0.05 * found.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_loaded_with_the_same_bits(tmp_path, kind):
    model = lively(tiny_llama(), kind)
    store.save(model, "a", tmp_path)
    other = tiny_llama()
    if kind == "qlora":
        KINDS[kind].apply(other, seed=0, name="unused")
    store.load(other, tmp_path, "again")
    assert not any(
        p.requires_grad for part in adapters.parts(other, "again").values() for p in part.parameters()
    )
    adapters.activate(other, "again")
    with torch.no_grad():
        assert torch.equal(logits(other), logits(model))
    store.save(other, "again", tmp_path / "copy")
    for name in (store.CONFIG, store.WEIGHTS):
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "ia3", "bottleneck"])
def test_an_adapter_that_has_learnt_nothing_changes_nothing(kind):
    model = tiny_llama()
    plain = logits(model)
    KINDS[kind].apply(model, seed=0, name="a")
    torch.testing.assert_close(logits(model), plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_adapter_trains_and_without_it_the_model_is_what_it_was(kind):
    model = tiny_llama()
    plain, fingerprint = logits(model).detach(), adapters.base_fingerprint(model)
    lively(model, kind)
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in own(model, "a")}
    adapters.adapters_of(model).fingerprint = None if kind != "qlora" else fingerprint
    assert adapters.base_fingerprint(model) == fingerprint
    adapters.remove(model, "a")
    if kind != "qlora":
        assert torch.equal(logits(model), plain)


def test_adapters_of_several_kinds_take_turns_on_one_model_and_leave_it_as_it_was():
    model = tiny_llama()
    tree, plain, alone = str(model), logits(model), {}
    for kind in ("lora", "ia3", "prefix", "prompt", "bottleneck"):
        alone[kind] = logits(lively(tiny_llama(), kind)).detach()
    for kind in alone:
        KINDS[kind].attach(model, kind, seed=3)
        shake(own(model, kind))
    for kind, expected in alone.items():
        adapters.activate(model, kind)
        torch.testing.assert_close(logits(model).detach(), expected)
    for kind in ("bottleneck", "ia3", "prompt", "lora", "prefix"):
        adapters.remove(model, kind)
    assert str(model) == tree
    assert torch.equal(logits(model), plain)


@pytest.mark.parametrize("kind", ["lora", "rslora", "dora", "ia3"])
def test_merged_weights_answer_as_the_adapter_did(kind):
    model = lively(tiny_llama(), kind).double()
    expected = logits(model).detach()
    (ia3.merge if kind == "ia3" else lora.merge)(model, "a")
    torch.testing.assert_close(logits(model).detach(), expected, rtol=1e-9, atol=1e-11)


def test_dora_is_the_papers_formula():
    model = lively(tiny_llama(), "dora").double()
    path = "blocks.0.mixer.q"
    pair, linear = lora.pairs(model, "a")[path], adapters.plain_at(model, path)
    x = torch.randn(3, linear.in_features, dtype=torch.float64)
    direction = linear.weight + 16 / 4 * pair.b_OR @ pair.a_RI
    expected = x @ (pair.length_O[:, None] * direction / direction.norm(dim=1, keepdim=True)).T
    torch.testing.assert_close(model.get_submodule(path)(x), expected, rtol=1e-9, atol=1e-12)


def test_patterns_say_what_is_frozen():
    model = tiny_llama()
    Freeze(frozen=("*",), kept=("blocks.1.*", "head*")[:1]).apply(model, seed=0, name="x")
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        name for name, _ in model.named_parameters() if name.startswith("blocks.1.")
    }
    with pytest.raises(ConfigError, match=r"pattern 'block.9' names no weight"):
        Freeze(frozen=("block.9",)).apply(model, seed=0, name="x")
    with pytest.raises(ConfigError, match="leaves no weight to train"):
        Freeze(frozen=("*",)).apply(model, seed=0, name="x")
