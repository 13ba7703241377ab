import json
import shutil

import pytest
import torch
from peft import PeftModel

from fakes_llama import tiny_llama
from mainspring.adapt import base as adapters
from mainspring.adapt import lora, store
from mainspring.errors import WeightsError
from mainspring.models.attend import PackedAttend
from oracle_llama import fill_alike, in_transformers, with_peft

IDS = torch.arange(20) * 7 % 250


def logits(model):
    with torch.no_grad():
        return model.logits(model(IDS, torch.arange(20), PackedAttend([20])))


@pytest.fixture
def saved(tmp_path):
    """A model with a lively adapter, and where that was saved."""
    model = tiny_llama()
    lora.add(model, lora.Lora(rank=4, alpha=6, targets=("q", "v", "down")), "a")
    torch.manual_seed(0)
    for pair in lora.pairs(model, "a").values():
        torch.nn.init.normal_(pair.b_OR, std=0.1)
    store.save(model, "a", tmp_path / "adapter")
    return model, tmp_path / "adapter"


def edit_config(folder, **values):
    config = json.loads((folder / store.CONFIG).read_text())
    (folder / store.CONFIG).write_text(json.dumps({**config, **values}))


def test_what_is_loaded_answers_with_the_same_bits_and_only_when_activated(saved):
    model, folder = saved
    other = tiny_llama()
    plain = logits(other)
    store.load(other, folder, "again")
    assert torch.equal(logits(other), plain)
    adapters.activate(other, "again")
    assert torch.equal(logits(other), logits(model))
    assert not any(
        each.requires_grad for pair in lora.pairs(other, "again").values() for each in pair.parameters()
    )


def test_saving_what_was_loaded_writes_the_same_bytes(saved, tmp_path):
    _, folder = saved
    other = tiny_llama()
    store.load(other, folder, "again")
    store.save(other, "again", tmp_path / "copy")
    for name in (store.CONFIG, store.WEIGHTS):
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()


def test_peft_loads_our_file_and_says_the_same(saved):
    model, folder = saved
    theirs = PeftModel.from_pretrained(in_transformers(tiny_llama()), folder).eval()
    with torch.no_grad():
        expected = theirs(IDS[None]).logits[0]
    torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-4)


def test_we_load_pefts_file_and_say_the_same(tmp_path):
    model = tiny_llama()
    theirs = with_peft(in_transformers(model), rank=4, alpha=8)
    lora.add(model, lora.Lora(rank=4, alpha=8), "same")
    fill_alike(model, "same", theirs)
    theirs.save_pretrained(tmp_path)
    store.load(model, tmp_path, "loaded")
    expected = logits(model)
    adapters.activate(model, "loaded")
    assert torch.equal(logits(model), expected)
    with torch.no_grad():
        torch.testing.assert_close(expected, theirs(IDS[None]).logits[0], rtol=1e-4, atol=1e-4)


def test_another_base_is_refused_with_both_fingerprints(saved):
    model, folder = saved
    other = tiny_llama(seed=5)
    with pytest.raises(WeightsError) as caught:
        store.load(other, folder, "a")
    assert adapters.base_fingerprint(model)[:16] in str(caught.value)
    assert adapters.base_fingerprint(other)[:16] in str(caught.value)
    assert not adapters.adapters_of(other).configs


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"use_dora": True}, "does not fit blocks.0.mixer.q"),
        ({"rank_pattern": {"q_proj": 2}}, "rank 2 and the scale 3 for model.layers.0.self_attn.q_proj"),
        (
            {"alpha_pattern": {r"layers\.1\..*v_proj": 12}},
            "rank 4 and the scale 3 for model.layers.1.self_attn.v_proj",
        ),
        ({"fan_in_fan_out": True}, "takes model.layers.0.self_attn.q_proj for a transposed matrix"),
        ({"init_lora_weights": "pissa_niter_4"}, "began as 'pissa_niter_4', which changes the base"),
        ({"lora_bias": True, "modules_to_save": ["lm_head"]}, "uses modules_to_save, lora_bias"),
        ({"bias": "all"}, "uses bias"),
        ({"peft_type": "VERA"}, "does not describe an adapter that is known"),
        ({"r": 5}, "does not fit blocks.0.mixer.q"),
        ({"r": 0}, "`rank` is 0"),
    ],
)
def test_what_would_be_left_out_or_does_not_fit_is_refused(saved, values, message):
    _, folder = saved
    edit_config(folder, **values)
    with pytest.raises(Exception, match=message) as caught:
        store.load(tiny_llama(), folder, "a")
    assert caught.value.exit_code == 2


def test_a_truncated_file_is_refused_by_name(saved):
    _, folder = saved
    content = (folder / store.WEIGHTS).read_bytes()
    (folder / store.WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r"adapter_model.safetensors cannot be read"):
        store.load(tiny_llama(), folder, "a")


def test_a_folder_without_an_adapter_is_refused(saved):
    _, folder = saved
    shutil.rmtree(folder)
    with pytest.raises(WeightsError, match=r"adapter_config.json cannot be read"):
        store.load(tiny_llama(), folder, "a")
