"""What is offered as weights and would run code is refused, wherever it is offered."""

import pickle

import pytest

from mainspring.errors import WeightsError
from mainspring.models.families.base import family
from mainspring.models.fetch import fetch
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.models.published import find
from mainspring.models.save import save

MESSAGE = r"has its weights in {}: a pickle, which runs the code .*Take the model in safetensors or GGUF"


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.fixture
def trap(tmp_path):
    """A published folder whose weights are a pickle, and the file that unpickling would write."""
    folder = tmp_path / "model"
    save(Model(family("llama").tiny()), folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    return folder, tmp_path / "sprung"


def test_a_folder_that_holds_only_a_pickle_is_refused_unread(trap, registry):
    folder, sprung = trap
    for read in (find, load, lambda path: fetch(registry, "mine", path)):
        with pytest.raises(WeightsError, match=MESSAGE.format(r"pytorch_model\.bin")):
            read(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match=MESSAGE.format(r"pytorch_model\.bin")):
        fetch(registry, "mine", folder)
    assert not sprung.exists()
    assert registry.list() == []


@pytest.mark.parametrize("suffix", ["bin", "pt", "pth", "ckpt"])
def test_a_pickle_by_any_name_is_refused_unread(trap, registry, suffix):
    folder, sprung = trap
    path = (folder / "pytorch_model.bin").rename(folder / f"weights.{suffix}")
    for read in (find, lambda path: fetch(registry, "mine", path)):
        with pytest.raises(WeightsError, match=MESSAGE.format(rf"weights\.{suffix}")):
            read(path)
    assert not sprung.exists()


def test_a_pickle_that_calls_itself_gguf_or_safetensors_is_damaged(trap):
    folder, sprung = trap
    gguf = (folder / "pytorch_model.bin").rename(folder / "model.gguf")
    with pytest.raises(WeightsError, match="is damaged: it begins with"):
        find(gguf)
    gguf.rename(folder / "model.safetensors")
    with pytest.raises(WeightsError, match="is damaged: its header"):
        find(folder)
    assert not sprung.exists()


def test_a_pickle_beside_safetensors_is_passed_over(tmp_path):
    save(Model(family("llama").tiny()), tmp_path)
    (tmp_path / "optimizer.pt").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert find(tmp_path).config == family("llama").tiny()
    assert not (tmp_path / "sprung").exists()
