"""A GGUF file: its metadata and its tensors by the names it gives them, each dequantized when it is read.

The file is mapped, so that only the tensor that is read comes into memory; the format's own package
dequantizes the blocks.
"""

from pathlib import Path

import numpy as np
import torch
from gguf.quants import dequantize

from mainspring.models.weights.base import damaged
from mainspring.models.weights.gguf.header import Entry, Header

PLAIN = {"F32": "<f4", "F16": "<f2"}  # numbers one by one, not in blocks


class GgufFile:
    """`fields` is the metadata, `shapes` the tensors' in torch's order, both as the file has them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes = np.memmap(path, mode="r") if path.stat().st_size else np.empty(0, np.uint8)
        self.fields, entries = Header(path, self._bytes).parse()
        self._entries: dict[str, Entry] = {}
        for entry in entries:
            if entry.name in self._entries:
                raise damaged(path, f"tensor '{entry.name}' stands in it twice")
            self._entries[entry.name] = entry
        self.shapes = {name: entry.shape for name, entry in self._entries.items()}

    def read(self, name: str, part: int | None = None) -> torch.Tensor:
        """One tensor in fp32, or only its row number `part` along the first dimension."""
        entry = self._entries[name]
        shape, start, size_bytes = entry.shape, entry.start, entry.size_bytes
        if part is not None:
            size_bytes //= shape[0]
            shape, start = shape[1:], start + part * size_bytes
        rows = self._bytes[start : start + size_bytes].reshape(*shape[:-1], -1)
        if entry.type.name in PLAIN:
            rows = rows.view(PLAIN[entry.type.name])
        return torch.from_numpy(np.array(dequantize(rows, entry.type), dtype=np.float32))
