"""The structs and numbers that native/model.h has as well, field by field, and the calls of the library."""

import ctypes
from enum import IntEnum
from typing import Any

import torch

from mainspring.errors import MainspringError
from mainspring.infer.native.build import library

LANES, BLOCK = 16, 32  # numbers of a register, outputs of a block of packed weights
TOP, NO_ADAPTER, NO_ROPE = -1, -1, -1
ACTIVATIONS = {"silu": 0, "gelu_tanh": 1, "relu": 2}
CAN_FAIL = (
    "create", "set_layer", "set_matrix", "set_norm", "set_embedding", "add_rope", "set_factors", "step",
)  # fmt: skip


class Site(IntEnum):
    """A linear of a layer, those with the same input joined, or the head."""

    QKV, OUT, GATE_UP, DOWN, HEAD = range(5)


class Place(IntEnum):
    """A norm of a layer, or the last one."""

    MIXER, MIXER_OUT, FFN, FFN_OUT, QUERY, KEY, LAST = range(7)


def _fields(kind: Any, *names: str) -> list[tuple[str, Any]]:
    return [(name, kind) for name in names]


class Sizes(ctypes.Structure):
    _fields_ = [
        *_fields(
            ctypes.c_int32, "width", "vocab_size", "num_layers", "block_size", "num_blocks", "kv_in_bytes"
        ),
        *_fields(ctypes.c_int32, "threads"),
        *_fields(ctypes.c_float, "embedding_scale", "softcap"),
    ]


class LayerShape(ctypes.Structure):
    _fields_ = [
        *_fields(ctypes.c_int32, "num_heads", "num_kv_heads", "head_size", "rope", "window"),
        *_fields(ctypes.c_int32, "activation", "norms_around"),
        *_fields(ctypes.c_float, "scale", "softcap"),
    ]


class Batch(ctypes.Structure):
    _fields_ = [
        *_fields(ctypes.c_int32, "num_rows", "num_works", "num_scored"),
        *_fields(
            ctypes.c_void_p, "ids", "starts", "positions", "tables", "table_starts", "adapters", "scored"
        ),
        *_fields(ctypes.c_void_p, "scores"),
    ]


class Library:
    """One model within the compiled library."""

    def __init__(self, sizes: Sizes, march: str) -> None:
        self._calls = library(march)
        for name in CAN_FAIL:
            getattr(self._calls, f"mainspring_{name}").restype = ctypes.c_char_p
        self._model = ctypes.c_void_p()
        self._raise("create", self._calls.mainspring_create(ctypes.byref(sizes), ctypes.byref(self._model)))

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function by its name; tensors go as pointers to their numbers in fp32, structs as pointers."""
        held = [_held(each) for each in arguments]
        self._raise(name, getattr(self._calls, f"mainspring_{name}")(self._model, *held))

    def call_void(self, name: str, *arguments: int | ctypes.c_void_p) -> None:
        """The same for one that cannot fail."""
        getattr(self._calls, f"mainspring_{name}")(self._model, *arguments)

    @property
    def cache_bytes(self) -> int:
        self._calls.mainspring_cache_bytes.restype = ctypes.c_int64
        return self._calls.mainspring_cache_bytes(self._model)

    def close(self) -> None:
        self._calls.mainspring_destroy(self._model)
        self._model = ctypes.c_void_p()

    @staticmethod
    def _raise(name: str, said: bytes | None) -> None:
        if said is not None:
            raise MainspringError(
                f"The native step failed in `{name}`: {said.decode()}. If memory ran out, set fewer blocks."
            )


class _Pointer(ctypes.c_void_p):
    """A pointer that keeps the tensor it points into."""

    tensor: torch.Tensor


def _held(argument: Any) -> Any:
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    if isinstance(argument, ctypes.Structure):
        return ctypes.byref(argument)
    if not isinstance(argument, torch.Tensor):
        return argument
    tensor = argument.detach().to(torch.float32).contiguous()
    pointer = _Pointer(tensor.data_ptr())
    pointer.tensor = tensor
    return pointer
