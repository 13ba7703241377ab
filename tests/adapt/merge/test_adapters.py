import pytest
import torch
from peft import PeftModel

from fakes_llama import tiny_llama
from mainspring.adapt import base as adapters
from mainspring.adapt import lora, store
from mainspring.adapt.merge import Dare, Linear, Slerp, Ties
from mainspring.adapt.merge.adapters import add_concatenated, write_merged
from mainspring.models.attend import PackedAttend
from mainspring.models.families.base import family
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.save import save
from oracle_llama import in_transformers

IDS = torch.arange(20) * 7 % 250
CONFIGS = {
    "a": lora.Lora(rank=2, alpha=5, targets=("q", "v", "down")),
    "b": lora.Lora(rank=4, alpha=6, targets=("q", "up")),
}


def logits(model):
    with torch.no_grad():
        return model.logits(model(IDS, torch.arange(20), PackedAttend([20])))


def adapted(model, configs=CONFIGS):
    for seed, (name, config) in enumerate(configs.items()):
        lora.add(model, config, name, seed=seed)
        torch.manual_seed(seed)
        for pair in lora.pairs(model, name).values():
            torch.nn.init.normal_(pair.b_OR, std=0.1)
    adapters.activate(model, None)
    return model


def products(model, name):
    """path -> what the adapter adds to the weight, in float64."""
    return {
        path: pair.scale * pair.b_OR.detach().double() @ pair.a_RI.detach().double()
        for path, pair in lora.pairs(model, name).items()
    }


def test_concatenated_factors_are_the_sum_of_the_products():
    model = adapted(tiny_llama())
    add_concatenated(model, ["a", "b"], [0.5, -2.0], "made")
    assert adapters.adapters_of(model).configs["made"].rank == 6
    a, b, made = (products(model, name) for name in ("a", "b", "made"))
    assert set(made) == {*a, *b}
    for path, found in made.items():
        torch.testing.assert_close(found, 0.5 * a.get(path, 0) - 2.0 * b.get(path, 0), rtol=1e-5, atol=1e-7)


def test_the_merged_adapter_answers_as_pefts_concatenation(tmp_path):
    same = {name: config.model_copy(update={"targets": ("q", "down")}) for name, config in CONFIGS.items()}
    model = adapted(tiny_llama(), same)
    for name in "ab":
        store.save(model, name, tmp_path / name)
    theirs = PeftModel.from_pretrained(in_transformers(tiny_llama()), tmp_path / "a", adapter_name="a").eval()
    theirs.load_adapter(tmp_path / "b", "b")
    theirs.add_weighted_adapter(["a", "b"], [0.5, 2.0], "made", combination_type="cat")
    theirs.set_adapter("made")
    add_concatenated(model, ["a", "b"], [0.5, 2.0], "made")
    store.save(model, "made", tmp_path / "made")
    again = tiny_llama()
    store.load(again, tmp_path / "made", "made")
    adapters.activate(again, "made")
    with torch.no_grad():
        expected = theirs(IDS[None]).logits[0]
    torch.testing.assert_close(logits(again), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", [Ties(density=0.3), Dare(combined_by="ties"), Slerp(), Linear()])
def test_what_has_no_factors_becomes_a_model_of_base_plus_the_merged_products(method, tmp_path):
    save(tiny_llama(), tmp_path / "base")
    model = adapted(load(tmp_path / "base"))
    write_merged(model, tmp_path / "base", ["a", "b"], [1.0, 3.0], method, folder=tmp_path / "made")
    base, made = (load(tmp_path / name).state_dict() for name in ("base", "made"))
    a, b = products(model, "a"), products(model, "b")
    for name, weight in made.items():
        path = name.removesuffix(".weight")
        if path not in a and path not in b:
            assert torch.equal(weight, base[name])
            continue
        zero = torch.zeros(weight.shape, dtype=torch.float64)
        expected = base[name] + method.combine([a.get(path, zero), b.get(path, zero)], [1.0, 3.0], path)
        torch.testing.assert_close(weight.double(), expected, rtol=1e-5, atol=1e-6)


def test_matrices_that_a_family_publishes_transposed_are_changed_transposed(tmp_path):
    torch.manual_seed(0)
    save(Model(family("gpt2").tiny()).eval(), tmp_path / "base")
    configs = {name: lora.Lora(rank=2, targets=("o", "up")) for name in "ab"}
    model = adapted(load(tmp_path / "base"), configs)
    write_merged(model, tmp_path / "base", ["a", "b"], [1.0, 1.0], Linear(), folder=tmp_path / "made")
    add_concatenated(model, ["a", "b"], [0.5, 0.5], "made")
    adapters.activate(model, "made")
    torch.testing.assert_close(logits(load(tmp_path / "made")), logits(model), rtol=1e-4, atol=1e-4)
