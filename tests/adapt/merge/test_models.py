import json
import shutil

import pytest
import torch

from fakes_bpe import CHATML, make_tokenizer
from fakes_llama import tiny_llama
from mainspring.adapt.merge import Dare, Linear, Task, Ties
from mainspring.adapt.merge.models import merge_models
from mainspring.errors import ConfigError, WeightsError
from mainspring.models.families.base import family
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.save import save
from mainspring.models.weights.safetensors import SafetensorsFolder


def saved(folder, model):
    save(model, folder)
    make_tokenizer().save(folder)
    return folder


@pytest.fixture
def parents(tmp_path):
    return {name: saved(tmp_path / name, tiny_llama(seed=n)) for n, name in enumerate("abc")}


def test_a_merged_model_loads_and_has_the_formulas_weights(parents, tmp_path):
    base = parents.pop("c")
    merge_models(parents, [0.5, 2.0], base, Task(), tmp_path / "made")
    made = load(tmp_path / "made").state_dict()
    a, b, c = (load(folder).state_dict() for folder in (*parents.values(), base))
    for name, weight in made.items():
        expected = c[name].double() + 0.5 * (a[name] - c[name]).double() + 2.0 * (b[name] - c[name]).double()
        torch.testing.assert_close(weight.double(), expected, rtol=1e-5, atol=1e-6)
    assert (tmp_path / "made" / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()


def test_equal_parents_merge_into_themselves(parents, tmp_path):
    folders = {"a": parents["a"], "again": parents["a"]}
    merge_models(folders, [1.0, 1.0], None, Linear(), tmp_path / "made")
    for name, weight in load(parents["a"]).state_dict().items():
        assert torch.equal(load(tmp_path / "made").state_dict()[name], weight)


def test_the_same_seed_makes_the_same_bytes_and_bf16_is_half_as_large(parents, tmp_path):
    base = parents.pop("c")
    for name in ("one", "two"):
        merge_models(parents, [1.0, 1.0], base, Dare(seed=4), tmp_path / name)
    merge_models(parents, [1.0, 1.0], base, Dare(seed=4), tmp_path / "half", dtype="bfloat16")
    files = [tmp_path / name / "model.safetensors" for name in ("one", "two", "half")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[2].stat().st_size < 0.6 * files[0].stat().st_size
    assert json.loads((tmp_path / "half" / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_one_tensor_of_each_parent_is_read_at_a_time(parents, tmp_path, monkeypatch):
    read = []
    original = SafetensorsFolder.read
    monkeypatch.setattr(
        SafetensorsFolder, "read", lambda self, name: (read.append(name), original(self, name))[1]
    )
    merge_models(parents, [1.0] * 3, None, Linear(), tmp_path / "made")
    assert read == [name for name in read[::3] for _ in range(3)]
    assert len(set(read)) == len(read) // 3


def other_width(tmp_path):
    kind = family("llama")
    config = kind.config({**kind.published(kind.tiny()), "intermediate_size": 80})
    return saved(tmp_path / "other", Model(config))


def test_another_architecture_is_refused_with_what_differs(parents, tmp_path):
    parents["wide"] = other_width(tmp_path)
    with pytest.raises(WeightsError, match="a and wide are built differently"):
        merge_models(parents, [1.0] * 4, None, Linear(), tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_another_template_is_refused_with_both_fingerprints(parents, tmp_path):
    make_tokenizer(template=CHATML.replace("user", "guest") + " ").save(parents["b"])
    with pytest.raises(WeightsError, match=r"a has the tokenizer \w{16}, b has \w{16}"):
        merge_models(parents, [1.0] * 3, None, Linear(), tmp_path / "made")


def test_a_missing_tensor_is_refused_by_name(parents, tmp_path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(parents["b"] / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, parents["b"] / "model.safetensors")
    with pytest.raises(WeightsError, match=r"not hold the same tensors: model.norm.weight differs"):
        merge_models(parents, [1.0] * 3, None, Linear(), tmp_path / "made")


def test_a_base_is_there_exactly_where_it_is_needed(parents, tmp_path):
    with pytest.raises(ConfigError, match="`base` is not given"):
        merge_models(parents, [1.0] * 3, None, Ties(), tmp_path / "made")
    with pytest.raises(ConfigError, match="leave `base` out"):
        merge_models(
            parents, [1.0] * 3, shutil.copytree(parents["a"], tmp_path / "x"), Linear(), tmp_path / "made"
        )
