"""IA3, prefix and prompt tuning against peft on the same weights: scores, gradients, and files both ways."""

import json

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

from fakes_adapters import IDS, assert_near, disturb, hidden, tiny
from fakes_llama import tiny_llama
from mainspring.adapt import base as adapters
from mainspring.adapt import ia3, store
from mainspring.adapt.bottleneck import Bottleneck
from mainspring.adapt.ia3 import Ia3
from mainspring.adapt.prefix import Prefix
from mainspring.adapt.prompt import Prompt
from mainspring.errors import ConfigError, WeightsError
from mainspring.models.save import save
from oracle_llama import in_transformers
from oracle_transformers import class_of

OURS = {
    "ia3": Ia3(),
    "prefix": Prefix(num_virtual=3),
    "net": Prefix(num_virtual=3, net_width=5),
    "prompt": Prompt(num_virtual=3),
    "bottleneck": Bottleneck(),
}
THEIRS = {
    "ia3": peft.IA3Config(
        task_type="CAUSAL_LM",
        target_modules=["k_proj", "v_proj", "down_proj"],
        feedforward_modules=["down_proj"],
    ),
    "prefix": peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    "net": peft.PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=5
    ),
    "prompt": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
}
NET = {
    "embedding.weight": "small_PC", "transform.0.weight": "down_EC", "transform.0.bias": "down_bias_E",
    "transform.2.weight": "up_XE", "transform.2.bias": "up_bias_X",
}  # fmt: skip


def ours(kind, *, lively=True):
    model = tiny_llama()
    OURS[kind].apply(model, seed=0, name="default")
    if lively:
        disturb(model)
    return model


def theirs(kind, *, lively=True):
    torch.manual_seed(3)
    model = peft.get_peft_model(in_transformers(tiny_llama()), THEIRS[kind])
    if lively:
        with torch.no_grad():
            for weight in trained(model).values():
                weight.add_(torch.randn(weight.shape), alpha=0.2)
    return model


def trained(model):
    return {name: each for name, each in model.named_parameters() if each.requires_grad}


def matched(kind, model, oracle):
    """Pairs of our parameters and theirs."""
    parts, other = adapters.parts(model, "default"), trained(oracle)
    if kind == "ia3":
        names = {"mixer.k": "self_attn.k_proj", "mixer.v": "self_attn.v_proj", "ffn.down": "mlp.down_proj"}
        for path, part in parts.items():
            layer, place = path.removeprefix("blocks.").split(".", 1)
            name = f"base_model.model.model.layers.{layer}.{names[place]}.ia3_l.default"
            yield part.scale_X, other.pop(name)
    elif kind == "net":
        for name, own in NET.items():
            yield getattr(parts["front"].net, own), other.pop(f"prompt_encoder.default.{name}")
    else:
        own = parts["front"].table_PX if kind == "prefix" else parts["front"].vector_PD
        yield own, other.pop("prompt_encoder.default.embedding.weight")
    assert not other


def scores(model, ids=IDS):
    return model.logits(hidden(model, ids))


def their_scores(oracle, ids=IDS):
    return oracle(input_ids=ids[None]).logits[0, -len(ids) :]


@pytest.mark.parametrize("kind", THEIRS)
def test_scores_and_gradients_of_one_step_are_pefts(kind):
    model, oracle = ours(kind), theirs(kind)
    pairs = list(matched(kind, model, oracle))
    with torch.no_grad():
        for own, other in pairs:
            own.copy_(other.view(own.shape))
    found, expected = scores(model), their_scores(oracle)
    assert_near(found, expected, 1e-5)
    for each in (found, expected):
        cross_entropy(each[:-1], IDS[1:]).backward()
    for own, other in pairs:
        assert other.grad.abs().sum() > 0
        assert_near(own.grad, other.grad.view(own.shape), 1e-5)


@pytest.mark.parametrize("kind", THEIRS)
def test_peft_loads_our_file_and_says_the_same(kind, tmp_path):
    model = ours(kind)
    store.save(model, "default", tmp_path)
    oracle = peft.PeftModel.from_pretrained(in_transformers(tiny_llama()), tmp_path).eval()
    with torch.no_grad():
        expected = their_scores(oracle)
        assert_near(scores(model), expected, 1e-5)
        assert (expected - scores(tiny_llama())).abs().max() > 0.01


@pytest.mark.parametrize("kind", THEIRS)
def test_we_load_pefts_file_and_say_the_same(kind, tmp_path):
    oracle = theirs(kind)
    oracle.save_pretrained(tmp_path)
    model = tiny_llama()
    store.load(model, tmp_path, "loaded")
    adapters.activate(model, "loaded")
    with torch.no_grad():
        assert_near(scores(model), their_scores(oracle.eval()), 1e-5)


@pytest.mark.parametrize("kind", OURS)
def test_tensors_of_another_model_are_refused(kind, tmp_path):
    store.save(ours(kind), "default", tmp_path)
    tensors = load_file(tmp_path / store.WEIGHTS)
    save_file({name: each[..., :-1].contiguous() for name, each in tensors.items()}, tmp_path / store.WEIGHTS)
    with pytest.raises(WeightsError, match="Load it onto the model it was trained on"):
        store.load(tiny_llama(), tmp_path, "a")


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
@pytest.mark.parametrize("family", ["gpt2", "qwen3", "gemma2", "mistral"])
def test_other_families_answer_in_peft_as_here(family, kind, tmp_path):
    """On a text that a window of 8 does not cut, for peft's prefix leaves the window and ours does not."""
    model = tiny(family, torch.float32)
    save(model, tmp_path / "model")
    oracle = class_of(tmp_path / "model").from_pretrained(tmp_path / "model", attn_implementation="eager")
    OURS[kind].apply(model, seed=0, name="default")
    disturb(model)
    store.save(model, "default", tmp_path / "adapter")
    oracle = peft.PeftModel.from_pretrained(oracle, tmp_path / "adapter").eval()
    with torch.no_grad():
        assert_near(scores(model, IDS[:5]), their_scores(oracle, IDS[:5]), 1e-5)


def test_names_that_are_not_unique_are_written_whole(tmp_path):
    """BERT's outputs of attention and of the feed-forward part are both called `dense`."""
    model = tiny("bert", torch.float32)
    Ia3().apply(model, seed=0, name="default")
    store.save(model, "default", tmp_path)
    values = json.loads((tmp_path / store.CONFIG).read_text())
    assert "dense" not in values["target_modules"]
    assert "encoder.layer.0.output.dense" in values["feedforward_modules"]
    assert {"key", "value"} < set(values["target_modules"])


def test_linears_that_are_published_as_one_are_scaled_as_one(tmp_path):
    """GPT-2's queries, keys and values are one matrix, which is stored turned."""
    model = tiny("gpt2", torch.float32)
    save(model, tmp_path / "model")
    Ia3().apply(model, seed=0, name="default")
    disturb(model)
    store.save(model, "default", tmp_path / "ours")
    plain = class_of(tmp_path / "model").from_pretrained(tmp_path / "model", attn_implementation="eager")
    oracle = peft.PeftModel.from_pretrained(plain, tmp_path / "ours").eval()
    with torch.no_grad():
        assert_near(scores(model), their_scores(oracle), 1e-5)
    oracle.save_pretrained(tmp_path / "theirs")
    other = tiny("gpt2", torch.float32)
    store.load(other, tmp_path / "theirs", "again")
    adapters.activate(other, "again")
    assert torch.equal(scores(other), scores(model))
    assert adapters.adapters_of(other).configs["again"] == Ia3(inputs=("down",), outputs=("k", "v"))


def test_inputs_of_one_of_several_linears_are_refused(tmp_path):
    model = tiny("gpt2", torch.float32)
    Ia3(outputs=(), inputs=("k",)).apply(model, seed=0, name="default")
    with pytest.raises(WeightsError, match=r"published as a part of transformer.h.0.attn.c_attn"):
        store.save(model, "default", tmp_path)


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
def test_only_what_scales_weights_is_merged(kind):
    with pytest.raises(ConfigError, match=f"kind '{kind}', which is no scale of weights"):
        ia3.merge(ours(kind), "default")
