"""mainspring models, verb by verb, on tiny models of the real kinds."""

import json
import xml.etree.ElementTree as ET

import pytest
import torch
from safetensors.torch import load_file

from fakes_bpe import make_tokenizer
from mainspring.models.families.base import FAMILIES, family
from mainspring.models.model import Model
from mainspring.models.save import save


def folder_of(tmp_path, name, architecture):
    """A tiny model with a tokenizer that has a mask token."""
    kind = family(name)
    published = {**kind.published(kind.tiny()), "architectures": [architecture], "vocab_size": 289}
    if "Classification" in architecture:
        published["id2label"] = {"0": "bad", "1": "good"}
    torch.manual_seed(0)
    folder = tmp_path / architecture
    save(Model(kind.config(published)).eval(), folder)
    tokenizer = make_tokenizer()
    tokenizer._backend.add_special_tokens(["<mask>"])
    tokenizer.save(folder)
    if "Classification" in architecture:
        said = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**said, "id2label": {"0": "bad", "1": "good"}}))
    return folder


def test_the_models_of_a_workspace_and_the_known_families_are_listed(run, root):
    rows = json.loads(run("models", "list", "--workspace", root, "--json")[1])
    assert [row["model"] for row in rows] == ["model/minilm@1", "model/smollm2@1"]
    _, out, _ = run("models", "list", "--families")
    assert all(name in out for name in FAMILIES)


def test_a_model_is_described_by_name_by_folder_and_by_config(run, root):
    folder = root / "artifacts" / "model" / "smollm2" / "1"
    said = [
        json.loads(run("models", "describe", what, "--workspace", root, "--json")[1])
        for what in ("smollm2", "model/smollm2@1", folder, folder / "config.json")
    ]
    assert said[0] == said[1] == said[2] == said[3]
    assert said[0]["parameters"] == 80_192
    _, out, _ = run("models", "describe", "smollm2", "--workspace", root)
    assert "parameters x bytes" in out
    assert "80,192" in out


def test_a_model_is_drawn(run, root, tmp_path):
    code, out, _ = run("models", "draw", "smollm2", "--to", tmp_path / "a.svg", "--workspace", root)
    assert (code, "a.svg" in out) == (0, True)
    assert ET.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("name", "architecture", "kind"),
    [
        ("gpt2", "GPT2LMHeadModel", "lm"),
        ("t5", "T5ForConditionalGeneration", "lm"),
        ("bert", "BertForMaskedLM", "masked"),
        ("roberta", "RobertaForSequenceClassification", "classify"),
        ("modernbert", "ModernBertForTokenClassification", "classify_tokens"),
        ("llama", "LlamaForSequenceClassification", "classify"),
        ("bert", "BertModel", "vector"),
    ],
)
def test_a_text_goes_through_every_kind_of_head(run, tmp_path, name, architecture, kind):
    folder = folder_of(tmp_path, name, architecture)
    _, out, _ = run("models", "try", folder, "the <mask> spring", "-n", "4", "--json")
    said = json.loads(out)
    assert said["kind"] == kind
    if kind.startswith("classify"):
        assert all(set(choices) == {"bad", "good"} for _, choices in said["rows"])
        assert all(sum(choices.values()) == pytest.approx(1) for _, choices in said["rows"])
    if kind == "masked":
        assert len(said["rows"]) == 1
    assert run("models", "try", folder, "the <mask> spring", "-n", "4")[0] == 0


def test_a_masked_model_without_a_mask_and_a_text_that_is_too_long_are_told(run, tmp_path):
    folder = folder_of(tmp_path, "bert", "BertForMaskedLM")
    code, _, error = run("models", "try", folder, "no gap")
    assert (code, "write <mask> where one is missing" in error) == (2, True)
    code, _, error = run("models", "try", folder, "many words " * 100)
    assert (code, "128 is the limit" in error) == (2, True)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_converted_model_has_the_rounded_weights_and_converts_back_bit_equal(run, root, tmp_path, dtype):
    source = root / "artifacts" / "model" / "smollm2" / "1"
    assert (
        run("models", "convert", "smollm2", tmp_path / "one", "--dtype", dtype, "--workspace", root)[0] == 0
    )
    assert run("models", "convert", tmp_path / "one", tmp_path / "two", "--dtype", dtype)[0] == 0
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    before = load_file(source / "model.safetensors")
    for name, tensor in before.items():
        assert torch.equal(one[name], tensor.to(getattr(torch, dtype)))
        assert torch.equal(one[name], two[name])
    assert (tmp_path / "one" / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    assert json.loads((tmp_path / "one" / "config.json").read_text())["torch_dtype"] == dtype


def test_a_tokenizer_with_more_ids_than_the_model_is_told(run, tmp_path):
    folder = folder_of(tmp_path, "gpt2", "GPT2LMHeadModel")
    save(Model(family("gpt2").tiny()), folder)
    code, _, error = run("models", "try", folder, "the spring")
    assert (code, "289 ids" in error, "288" in error) == (2, True, True)


def test_what_cannot_be_converted_is_told_and_leaves_nothing(run, root, tmp_path):
    code, _, error = run("models", "convert", "smollm2", tmp_path, "--workspace", root)
    assert (code, "exists already" in error) == (2, True)
    code, _, error = run(
        "models", "convert", "smollm2", tmp_path / "x", "--dtype", "int3", "--workspace", root
    )
    assert (code, "one of float32, bfloat16, float16" in error) == (2, True)
    assert not (tmp_path / "x").exists()
    code, _, error = run("models", "describe", "unheard-of", "--workspace", root)
    assert (code, "there is model/minilm@1" in error) == (2, True)


def test_a_model_remembers_documents_and_goes_on_with_them(run, root, documents, tmp_path):
    code, out, _ = run(
        "models", "remember", "smollm2", documents, "--to", tmp_path / "m", "--workspace", root
    )
    assert (code, "contexts" in out) == (0, True)
    options = [
        "--memory",
        tmp_path / "m",
        "-o",
        "weight=1",
        "-o",
        "neighbours=1",
        "-n",
        "12",
        "--workspace",
        root,
    ]
    code, out, _ = run("models", "try", "smollm2", "The lamp of the harbour turns", *options, "--json")
    assert json.loads(out)["text"].startswith(" every 12")
    code, _, error = run("models", "try", "smollm2", "x", "-o", "weight=1", "--workspace", root)
    assert (code, "--memory" in error) == (2, True)


def test_word_vectors_are_trained_and_asked(run, tmp_path):
    (tmp_path / "text.txt").write_text(
        "the red lamp and the blue lamp turn in the harbour\n" * 30, encoding="utf-8"
    )
    code, out, error = run(
        "models", "vectors", "train", tmp_path / "text.txt", "--to", tmp_path / "v", "-o", "width=8"
    )
    assert (code, "pass 3/3" in error, "words" in out) == (0, True, True)
    rows = json.loads(run("models", "vectors", "near", "Red", "--in", tmp_path / "v", "-n", "3", "--json")[1])
    assert len(rows) == 3
    assert run("models", "vectors", "analogy", "red", "lamp", "blue", "--in", tmp_path / "v")[0] == 0
    assert run("models", "vectors", "train", tmp_path / "text.txt", "--to", tmp_path / "v")[0] == 2
