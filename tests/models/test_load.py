import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mainspring.artifact import sha256_of
from mainspring.errors import WeightsError
from mainspring.models.families.base import family
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.save import save


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save(Model(family("llama").tiny()), tmp_path)
    return tmp_path


def edit_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def edit_config(folder, **changes):
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**said, **changes}), encoding="utf-8")


def test_what_is_written_into_parameters_never_reaches_the_file(folder):
    before = sha256_of(folder / "model.safetensors")
    model = load(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    assert sha256_of(folder / "model.safetensors") == before
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_half_precision_files_load_as_fp32(folder):
    edit_tensors(folder, lambda tensors: tensors.update({k: t.bfloat16() for k, t in tensors.items()}))
    assert {parameter.dtype for parameter in load(folder).parameters()} == {torch.float32}


def test_a_missing_an_unknown_and_a_misshapen_tensor_are_named(folder):
    edit_tensors(folder, lambda tensors: tensors.update(surplus=torch.zeros(2)))
    with pytest.raises(WeightsError, match="missing none; unknown surplus"):
        load(folder)
    edit_tensors(folder, lambda tensors: (tensors.pop("surplus"), tensors.pop("model.norm.weight")))
    with pytest.raises(WeightsError, match=r"missing model\.norm\.weight; unknown none"):
        load(folder)
    edit_tensors(folder, lambda tensors: tensors.update({"model.norm.weight": torch.zeros(3)}))
    with pytest.raises(
        WeightsError, match=r"misshapen model\.norm\.weight is \(3,\), config\.json asks for \(64,\)"
    ):
        load(folder)


def test_integer_weights_are_refused(folder):
    norm = {"model.norm.weight": torch.zeros(64, dtype=torch.int8)}
    edit_tensors(folder, lambda tensors: tensors.update(norm))
    with pytest.raises(WeightsError, match=r"'model\.norm\.weight' .* is torch\.int8"):
        load(folder)


def test_a_head_beside_a_tied_embedding_is_passed_over(folder):
    edit_tensors(folder, lambda tensors: tensors.update({"lm_head.weight": torch.zeros(288, 64)}))
    assert load(folder).head.out is None


def test_an_unknown_family_and_a_config_without_a_needed_key_are_named(folder):
    edit_config(folder, model_type="mamba")
    with pytest.raises(
        WeightsError, match=r"family is 'mamba'; did you mean 'mamba2'\? known families are gpt2, llama, "
    ):
        load(folder)
    edit_config(folder, model_type="llama")
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del said["hidden_size"]
    (folder / "config.json").write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(WeightsError, match="'hidden_size'"):
        load(folder)


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[]", "holds a list")])
def test_a_damaged_config_is_named(folder, text, message):
    (folder / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=rf"config\.json .*{message}"):
        load(folder)


def test_a_folder_without_config_or_weights_is_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"neither model\.safetensors nor"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"config\.json is missing"):
        load(folder)


def test_pooling_of_a_kind_that_is_not_read_is_named(tmp_path):
    save(Model(family("bert").tiny()), tmp_path)
    pooling = tmp_path / "1_Pooling" / "config.json"
    pooling.parent.mkdir()
    pooling.write_text(json.dumps({"pooling_mode_cls_token": True}), encoding="utf-8")
    assert load(tmp_path).config.pooling == "cls"
    pooling.write_text(json.dumps({"pooling_mode_weightedmean_tokens": True}), encoding="utf-8")
    with pytest.raises(WeightsError, match="read are mean, cls, max, last"):
        load(tmp_path)
