import json
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from mainspring.errors import WeightsError
from mainspring.models.weights.safetensors import SafetensorsFolder, write

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b.weight": torch.randn(5), "c": torch.tensor([[1.5]])}


def test_what_is_written_one_by_one_reads_as_with_the_formats_own_library(tmp_path):
    write(
        tmp_path / "model.safetensors", {k: tuple(t.shape) for k, t in TENSORS.items()}, TENSORS.__getitem__
    )
    theirs = load_file(tmp_path / "model.safetensors")
    ours = SafetensorsFolder(tmp_path)
    assert theirs.keys() == ours.shapes.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(theirs[name], tensor)
        assert torch.equal(ours.read(name), tensor)
        assert ours.shapes[name] == tensor.shape


def shard(folder):
    save_file({"a": TENSORS["a"]}, folder / "one.safetensors")
    save_file({"b.weight": TENSORS["b.weight"], "c": TENSORS["c"]}, folder / "two.safetensors")
    files = {"a": "one.safetensors", "b.weight": "two.safetensors", "c": "two.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}), encoding="utf-8")


def test_shards_read_as_one(tmp_path):
    shard(tmp_path)
    weights = SafetensorsFolder(tmp_path)
    assert all(torch.equal(weights.read(name), tensor) for name, tensor in TENSORS.items())


def test_a_missing_shard_a_doubled_tensor_and_a_damaged_index_are_named(tmp_path):
    shard(tmp_path)
    save_file({"a": TENSORS["a"], "c": TENSORS["c"]}, tmp_path / "one.safetensors")
    with pytest.raises(WeightsError, match="'c' stands in"):
        SafetensorsFolder(tmp_path)
    (tmp_path / "two.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"two\.safetensors, which is missing"):
        SafetensorsFolder(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(WeightsError, match="no readable weight_map"):
        SafetensorsFolder(tmp_path)


def test_a_truncated_file_is_named_with_the_bytes_expected_and_found(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    with pytest.raises(
        WeightsError,
        match=rf"model\.safetensors is truncated: .* {len(whole)} bytes, it has {len(whole) - 4}",
    ):
        SafetensorsFolder(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 4) + b"{ x}",
        b"\x02" + b"\0" * 7 + b"[]",
    ],
)
def test_a_damaged_header_is_named(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.safetensors .* is damaged"):
        SafetensorsFolder(tmp_path)
