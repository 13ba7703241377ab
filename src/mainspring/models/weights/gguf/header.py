"""The header of a GGUF file, front to back; any length that leads out of the file is an error.

The layout: magic, version, counts; key-value pairs; one entry a tensor; the tensors' bytes, aligned. The
format's own package would allocate what a damaged length asks for, so the header is read here.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from mainspring.errors import WeightsError
from mainspring.models.weights.base import check_size, damaged

READ_TYPES = (
    "F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
    "IQ4_NL", "IQ4_XS",
)  # fmt: skip
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
MAX_DIMENSIONS = 4
MAX_NESTING = 4
LEAST_BYTES = 8  # of a string or an array: their length alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One tensor of the file; `shape` is torch's order, `start` and `size_bytes` count bytes of the file."""

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    start: int
    size_bytes: int


class Header:
    """Reads `data`, the bytes of the file at `path`."""

    def __init__(self, path: Path, data: np.ndarray) -> None:
        self._path, self._data, self._at = path, data.data, 0

    def parse(self) -> tuple[dict[str, Any], list[Entry]]:
        """The metadata, and where each tensor lies.

        Raises:
            WeightsError: a file of another kind, truncated, damaged, or with tensors of a type that is not read.

        """
        if bytes(self._data[:4]) != b"GGUF":
            raise damaged(self._path, f"it begins with {bytes(self._data[:4])!r}, not b'GGUF'")
        self._at = 4
        version = self._scalar("I")
        if version not in VERSIONS:
            raise WeightsError(f"{self._path} is GGUF version {version}; versions 2 and 3 are read.")
        num_tensors, num_fields = self._scalar("Q"), self._scalar("Q")
        self._room(num_tensors + num_fields, LEAST_BYTES)
        fields = {self._string(): self._value(self._scalar("I")) for _ in range(num_fields)}
        self._one_file(fields)
        raw = [self._tensor() for _ in range(num_tensors)]
        start = self._aligned(fields.get("general.alignment", 32))
        entries = [self._entry(start, *each) for each in raw]
        check_size(self._path, max((entry.start + entry.size_bytes for entry in entries), default=start))
        return fields, entries

    def _one_file(self, fields: dict[str, Any]) -> None:
        count = fields.get("split.count", 0)
        if isinstance(count, int) and count > 1:
            raise WeightsError(
                f"{self._path} is one of {count} parts of a model; one whole file is read. "
                "Join the parts first (llama-gguf-split --merge)."
            )

    def _aligned(self, align: Any) -> int:
        if not isinstance(align, int) or align < 1:
            raise damaged(self._path, f"its tensors are aligned to {align!r} bytes")
        return -(-self._at // align) * align

    def _room(self, count: int, least_bytes: int) -> None:
        """Raise unless so many things of at least this size fit into the rest of the file."""
        end = self._at + count * least_bytes
        if end > len(self._data):
            raise damaged(
                self._path, f"its header should go on to byte {end:,} at least, where the file has ended"
            )

    def _take(self, size_bytes: int) -> memoryview:
        self._room(1, size_bytes)
        piece = self._data[self._at : self._at + size_bytes]
        self._at += size_bytes
        return piece

    def _scalar(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))[0]

    def _string(self) -> str:
        try:
            return str(self._take(self._scalar("Q")), "utf-8")
        except UnicodeDecodeError as error:
            raise damaged(self._path, f"text before byte {self._at:,} is not UTF-8") from error

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY and depth < MAX_NESTING:
            return self._array(depth)
        if kind not in SCALARS:
            raise damaged(
                self._path, f"byte {self._at:,} speaks of a value of kind {kind}, which there is not"
            )
        return self._scalar(SCALARS[kind])

    def _array(self, depth: int) -> list[Any]:
        of, length = self._scalar("I"), self._scalar("Q")
        if of in SCALARS:
            code = SCALARS[of]
            return list(struct.unpack(f"<{length}{code}", self._take(length * struct.calcsize(f"<{code}"))))
        self._room(length, LEAST_BYTES)
        return [self._value(of, depth + 1) for _ in range(length)]

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name, dimensions = self._string(), self._scalar("I")
        if dimensions > MAX_DIMENSIONS:
            raise damaged(
                self._path, f"tensor '{name}' has {dimensions} dimensions; {MAX_DIMENSIONS} is the most"
            )
        shape = tuple(self._scalar("Q") for _ in range(dimensions))
        return name, shape[::-1], self._scalar("I"), self._scalar("Q")

    def _entry(self, start: int, name: str, shape: tuple[int, ...], kind: int, offset: int) -> Entry:
        known = {each.value: each for each in GGMLQuantizationType}
        name_of = known[kind].name if kind in known else f"number {kind}"
        if name_of not in READ_TYPES:
            raise WeightsError(
                f"Tensor '{name}' of {self._path} is of type {name_of}; read are {', '.join(READ_TYPES)}. "
                "Take a file that was quantized to one of these."
            )
        block, block_bytes = GGML_QUANT_SIZES[known[kind]]
        if not math.prod(shape) or shape == () or shape[-1] % block:
            raise damaged(self._path, f"tensor '{name}' of shape {shape} does not fit blocks of {block}")
        size_bytes = math.prod(shape) // block * block_bytes
        return Entry(name=name, shape=shape, type=known[kind], start=start + offset, size_bytes=size_bytes)
