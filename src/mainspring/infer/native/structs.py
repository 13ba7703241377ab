"""The structs and numbers that the C++ has as well (shapes.h, field by field), and the calls of the library."""

import ctypes
import weakref
from enum import IntEnum
from typing import Any

import numpy as np
import torch

from mainspring.errors import MainspringError
from mainspring.infer.native.build import library

LANES, BLOCK = 16, 32  # numbers of a register, outputs of a block of packed weights
NO_ADAPTER = -1
ACTIVATIONS = {"silu": 0, "gelu_tanh": 1, "relu": 2}
CAN_FAIL = (
    "create", "set_layer", "set_matrix", "set_norm", "set_embedding", "add_rope", "set_factors", "step",
)  # fmt: skip


class Site(IntEnum):
    """A linear of a layer, those with the same input joined, or the head."""

    QKV, OUT, GATE_UP, DOWN, HEAD = range(5)


class Place(IntEnum):
    """Where a norm stands beside a linear: before it, behind it, at the queries or the keys that it makes."""

    BEFORE, AFTER, QUERY, KEY = range(4)


SUMMARY = np.dtype([("best", np.int32), ("log_sum", np.float64), ("entropy", np.float64)], align=True)


def _fields(kind: Any, *names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names]


class Sizes(ctypes.Structure):
    _fields_ = [
        *_fields(ctypes.c_int32, "width", "vocab_size", "num_layers", "block_size", "num_blocks"),
        *_fields(ctypes.c_int32, "kv_in_bytes", "threads"),
        *_fields(ctypes.c_float, "embedding_scale", "softcap"),
    ]


class LayerShape(ctypes.Structure):
    _fields_ = [
        *_fields(ctypes.c_int32, "num_heads", "num_kv_heads", "head_size", "rope", "window", "activation"),
        *_fields(ctypes.c_float, "scale", "softcap"),
    ]


class Batch(ctypes.Structure):
    _fields_ = [
        *_fields(ctypes.c_int32, "num_works", "num_scored"),
        *_fields(ctypes.c_void_p, "ids", "starts", "positions", "tables", "table_starts"),
        *_fields(ctypes.c_void_p, "adapters", "scored", "scores"),
    ]


class Library:
    """One model within the compiled library."""

    def __init__(self, sizes: Sizes, march: str) -> None:
        self._calls = library(march)
        for name in CAN_FAIL:
            getattr(self._calls, f"mainspring_{name}").restype = ctypes.c_char_p
        self._calls.mainspring_cache_bytes.restype = ctypes.c_int64
        self._model = ctypes.c_void_p()
        self._call("create", sizes, ctypes.byref(self._model))
        self._end = weakref.finalize(self, self._calls.mainspring_destroy, self._model)
        self._end.atexit = False  # a thread may be within a step then

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function by its name, for this model."""
        if not self._end.alive:
            raise MainspringError("The native step has been closed, so nothing can be asked of it.")
        return self._call(name, self._model, *arguments)

    def close(self) -> None:
        self._end()

    def _call(self, name: str, *arguments: Any) -> Any:
        said = getattr(self._calls, f"mainspring_{name}")(*map(_argument, arguments))
        if isinstance(said, bytes):
            raise MainspringError(
                f"The native step failed in `{name}`: {said.decode()}. If memory ran out, set fewer blocks."
            )
        return said


def _argument(value: Any) -> Any:
    """Structs go as pointers; so do tensors, in fp32, and arrays, which live at least as long as what is given."""
    if isinstance(value, float):
        return ctypes.c_float(value)
    if isinstance(value, ctypes.Structure):
        return ctypes.byref(value)
    if isinstance(value, torch.Tensor):
        value = value.detach().float().contiguous().numpy()
    return value.ctypes if isinstance(value, np.ndarray) else value
