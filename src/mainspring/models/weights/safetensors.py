"""Safetensors files, single or sharded.

The format: 8 bytes that tell the header's length, a JSON header, the tensors' bytes.
"""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from mainspring.errors import WeightsError
from mainspring.models.weights.base import PICKLES, check_size, damaged, pickled

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
WRITTEN = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
FLOATS = ("F64", "F32", "F16", "BF16")


class SafetensorsFolder:
    """The weights of a folder in the published layout; tensors are mapped from the file, not copied."""

    def __init__(self, folder: Path) -> None:
        self._file_of: dict[str, Path] = {}
        self._open: dict[Path, Any] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        for path in _files(folder):
            for name, entry in read_header(path).items():
                if name in shapes:
                    raise WeightsError(
                        f"Tensor '{name}' stands in {self._file_of[name]} and again in {path}."
                    )
                shapes[name], self._file_of[name] = tuple(entry["shape"]), path
        self.shapes: Mapping[str, tuple[int, ...]] = shapes

    def read(self, name: str) -> torch.Tensor:
        path = self._file_of[name]
        if path not in self._open:
            self._open[path] = safe_open(path, framework="pt")
        tensor = self._open[path].get_tensor(name)
        if not tensor.is_floating_point() or tensor.element_size() == 1:
            raise WeightsError(
                f"Tensor '{name}' of {path} is {tensor.dtype}; read are {', '.join(FLOATS)}. "
                "Take a file with unquantized weights."
            )
        return tensor


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """The tensors of a file: {name: {dtype, shape, data_offsets}}, checked against the file's size.

    Raises:
        WeightsError: a truncated or damaged file.

    """
    with path.open("rb") as stream:
        prefix = stream.read(8)
        size_bytes = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= size_bytes <= path.stat().st_size - 8:
            raise damaged(
                path, f"its header should have {size_bytes:,} bytes, at least 2 and within the file"
            )
        try:
            header = json.loads(stream.read(size_bytes))
            header.pop("__metadata__", None)
            end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise damaged(path, f"its header does not read ({error!r})") from error
    check_size(path, 8 + size_bytes + end)
    return header


def write(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], torch.Tensor],
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write tensors one by one, so that no more than one is in memory."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        end = offset + dtype.itemsize * int(np.prod(shape))
        header[name] = {"dtype": WRITTEN[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(encoded)))
        stream.write(encoded)
        for name in shapes:
            tensor = read(name).detach().to(dtype).contiguous()
            stream.write(tensor.view(torch.uint8).numpy().data.cast("B"))


def _files(folder: Path) -> list[Path]:
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    index = folder / INDEX
    if not index.exists():
        pickles = (
            [path for path in sorted(folder.iterdir()) if path.suffix in PICKLES] if folder.is_dir() else []
        )
        if pickles:
            raise pickled(pickles)
        raise WeightsError(f"{folder} has neither {SINGLE} nor {INDEX}. Fetch the model again.")
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError) as error:
        raise damaged(index, f"it has no readable weight_map ({error!r})") from error
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise WeightsError(f"{index} names {', '.join(missing)}, which is missing. Fetch the model again.")
    return [folder / name for name in names]
