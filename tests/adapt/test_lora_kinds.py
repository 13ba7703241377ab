"""LoRA, rsLoRA and DoRA against peft and against their formulas; matrices that are published as one."""

import json
import math

import peft
import pytest
import torch
from peft import PeftModel, get_peft_model

from fakes_llama import tiny_llama
from mainspring.adapt import base as adapters
from mainspring.adapt import lora, store
from mainspring.adapt.lora import Lora
from mainspring.errors import ConfigError, WeightsError
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import family
from mainspring.models.model import Model
from mainspring.models.save import save
from oracle_llama import PEFT_NAMES, in_transformers, published_name
from oracle_transformers import class_of

IDS = torch.arange(20) * 7 % 250
KINDS = {"lora": {}, "rslora": {"rslora": True}, "dora": {"dora": True}}
FUSED = {"phi3": ("q", "v", "gate", "up", "o"), "gpt2": ("q", "k", "v", "up")}
FACTORS = {"a_RI": "lora_A", "b_OR": "lora_B", "length_O": "lora_magnitude_vector"}


def logits(model):
    return model.logits(model(IDS, torch.arange(20), PackedAttend([20])))


def shake(parameters, seed=3):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype), alpha=0.05)


def lively(model, config):
    """An adapter that says something."""
    config.apply(model, seed=3, name="a")
    for _, pair in sorted(lora.pairs(model, "a").items()):
        shake(pair.parameters())
    return model


def theirs_of(model, folder):
    """The same weights in transformers."""
    save(model, folder / "model")
    return class_of(folder / "model").from_pretrained(folder / "model", attn_implementation="eager").eval()


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_has_pefts_output_and_its_gradient_of_every_factor(kind, tmp_path):
    model = tiny_llama()
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=PEFT_NAMES, use_rslora=kind == "rslora", use_dora=kind == "dora"
    )
    theirs = get_peft_model(in_transformers(model), config).eval()
    factors = {name: each for name, each in theirs.named_parameters() if each.requires_grad}
    shake(factors.values())
    paths = {path: published_name(model, path) for path in adapters.target_paths(model, lora.TARGETS)}
    theirs.save_pretrained(tmp_path)
    store.load(model, tmp_path, "a")
    adapters.activate(model, "a")
    pairs = lora.pairs(model, "a")
    for pair in pairs.values():
        pair.requires_grad_(True)
    ours, expected = logits(model), theirs(IDS[None]).logits[0]
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    weight = torch.randn(ours.shape, generator=torch.Generator().manual_seed(0))
    (ours * weight).sum().backward()
    (expected * weight).sum().backward()
    compared = 0
    for path, pair in pairs.items():
        for name, parameter in pair.named_parameters():
            found = factors[f"base_model.model.{paths[path]}.{FACTORS[name]}.default.weight"].grad
            assert (parameter.grad - found).norm() / found.norm() < 1e-5, (path, name)
            compared += 1
    assert compared == len(factors) == 7 * model.config.num_layers * (3 if kind == "dora" else 2)


@pytest.mark.parametrize("kind", KINDS)
def test_output_and_gradients_are_those_of_the_papers_formula_in_float64(kind):
    model = lively(tiny_llama(), Lora(rank=4, alpha=6, **KINDS[kind])).double()
    path = "blocks.0.ffn.up"
    pair, weight = lora.pairs(model, "a")[path], adapters.plain_at(model, path).weight
    x = torch.randn(5, weight.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = model.get_submodule(path)(x)
    ours.square().sum().backward()
    copies = {name: each.detach().clone().requires_grad_() for name, each in pair.named_parameters()}
    scale = 6 / math.sqrt(4) if kind == "rslora" else 6 / 4
    turned = weight + scale * copies["b_OR"] @ copies["a_RI"]
    if kind == "dora":
        turned = copies["length_O"][:, None] * turned / turned.detach().pow(2).sum(1, keepdim=True).sqrt()
    expected = x @ turned.T
    expected.square().sum().backward()
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)
    for name, each in pair.named_parameters():
        torch.testing.assert_close(each.grad, copies[name].grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FUSED)
def test_peft_reads_factors_of_matrices_that_are_published_as_one(name, kind, tmp_path):
    torch.manual_seed(0)
    model = Model(family(name).tiny()).eval()
    theirs = theirs_of(model, tmp_path)
    lively(model, Lora(rank=4, alpha=6, targets=FUSED[name], **KINDS[kind]))
    store.save(model, "a", tmp_path / "adapter")
    wrapped = PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    again = Model(family(name).tiny()).eval()
    again.load_state_dict(dict(zip(again.state_dict(), _plain(model).values(), strict=True)))
    store.load(again, tmp_path / "adapter", "b")
    adapters.activate(again, "b")
    with torch.no_grad():
        torch.testing.assert_close(logits(model), wrapped(IDS[None]).logits[0], rtol=1e-5, atol=1e-5)
        assert torch.equal(logits(again), logits(model))
    assert set(lora.pairs(again, "b")) == set(lora.pairs(model, "a"))
    store.save(again, "b", tmp_path / "copy")
    for file in (store.CONFIG, store.WEIGHTS):
        assert (tmp_path / "copy" / file).read_bytes() == (tmp_path / "adapter" / file).read_bytes()


def _plain(model):
    """Weights without the adapter's, in the model's order."""
    return {name: each for name, each in model.state_dict().items() if ".parts." not in name}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "module"), [("phi3", "qkv_proj"), ("gpt2", "c_attn")])
def test_we_read_what_peft_trained_on_a_matrix_that_is_published_as_one(name, module, kind, tmp_path):
    torch.manual_seed(0)
    model = Model(family(name).tiny()).eval()
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules=[module], use_rslora=kind == "rslora", use_dora=kind == "dora",
        fan_in_fan_out=name == "gpt2",
    )  # fmt: skip
    theirs = get_peft_model(theirs_of(model, tmp_path), config).eval()
    shake([each for each in theirs.parameters() if each.requires_grad])
    theirs.save_pretrained(tmp_path / "adapter")
    plain = logits(model)
    store.load(model, tmp_path / "adapter", "a")
    adapters.activate(model, "a")
    with torch.no_grad():
        torch.testing.assert_close(logits(model), theirs(IDS[None]).logits[0], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits(model), plain, atol=1e-3)


def test_parts_of_one_matrix_that_are_mixed_at_a_higher_rank_are_refused(tmp_path):
    model = Model(family("phi3").tiny())
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=["qkv_proj"],
        rank_pattern={"qkv_proj": 12},
        alpha_pattern={"qkv_proj": 18},
    )
    theirs = get_peft_model(theirs_of(model, tmp_path), config)
    shake([each for each in theirs.parameters() if each.requires_grad])
    theirs.save_pretrained(tmp_path / "adapter")
    with pytest.raises(
        WeightsError, match=r"mixes the parts of model.layers.0.self_attn.qkv_proj at the rank 12"
    ):
        store.load(model, tmp_path / "adapter", "a")
    assert not adapters.adapters_of(model).configs


def test_an_adapter_of_some_layers_stays_one_of_those_in_peft_and_here(tmp_path):
    plain = in_transformers(tiny_llama())
    model = lively(tiny_llama(), Lora(rank=4, dora=True, targets=("blocks.1.*", "blocks.0.mixer.[qv]")))
    assert "blocks.0.mixer.k" not in lora.pairs(model, "a")
    store.save(model, "a", tmp_path)
    told = json.loads((tmp_path / store.CONFIG).read_text())["target_modules"]
    assert {"q_proj", "v_proj", "model.layers.1.mlp.up_proj"} < set(told)
    wrapped = PeftModel.from_pretrained(plain, tmp_path).eval()
    assert sum(".lora_A." in name for name, _ in wrapped.named_parameters()) == 9
    with torch.no_grad():
        torch.testing.assert_close(logits(model), wrapped(IDS[None]).logits[0], rtol=1e-5, atol=1e-5)
    other = tiny_llama()
    store.load(other, tmp_path, "b")
    targets = adapters.adapters_of(other).configs["b"].targets
    assert adapters.target_paths(other, targets) == list(lora.pairs(model, "a"))


def test_a_pattern_that_no_path_fits_is_refused_with_one_that_there_is():
    with pytest.raises(
        ConfigError, match=r"no linear of that path that fits; .* first of them at blocks.0.mixer.q"
    ):
        Lora(targets=("blocks.9.*",)).apply(tiny_llama(), seed=0, name="a")


def test_an_encoders_adapter_is_read_by_pefts_plain_wrapper(tmp_path):
    torch.manual_seed(0)
    model = Model(family("bert").tiny()).eval()
    theirs = theirs_of(model, tmp_path)
    lively(model, Lora(rank=4, targets=("q", "up")))
    store.save(model, "a", tmp_path / "adapter")
    wrapped = PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    with torch.no_grad():
        found, expected = (
            model(IDS, torch.arange(20), PackedAttend([20])),
            wrapped(IDS[None]).last_hidden_state[0],
        )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_dropout_is_felt_in_training_alone_and_follows_the_seed(tmp_path):
    model = lively(tiny_llama(), Lora(rank=4, dropout=0.5))
    expected = logits(lively(tiny_llama(), Lora(rank=4)))
    store.save(model, "a", tmp_path)
    torch.manual_seed(1)
    first = logits(model)
    torch.manual_seed(1)
    assert torch.equal(logits(model), first)
    assert not torch.allclose(first, expected, atol=1e-3)
    assert torch.equal(logits(model.eval()), expected)
    served = tiny_llama().eval()
    store.load(served, tmp_path, "b")
    adapters.activate(served, "b")
    assert torch.equal(logits(served), expected)


def test_dropout_leaves_the_factors_output_as_it_is_on_average():
    model = lively(tiny_llama(), Lora(rank=4, dropout=0.5))
    path = "blocks.0.mixer.q"
    adapted, x = model.get_submodule(path), torch.randn(1, model.config.width)
    torch.manual_seed(0)
    with torch.no_grad():
        mean = torch.cat([adapted(x) for _ in range(1000)]).mean(0, keepdim=True)
        adapted.eval()
        change = adapted(x) - adapted.base(x)
        assert (mean - adapted(x)).norm() < 0.15 * change.norm()


def test_dora_computes_under_autocast_like_a_linear():
    model = lively(tiny_llama(), Lora(rank=4, dora=True))
    expected = logits(model)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.get_submodule("blocks.0.mixer.q")(torch.randn(4, model.config.width))
        assert found.dtype == torch.bfloat16
        assert (logits(model).float() - expected).norm() < 0.02 * expected.norm()
