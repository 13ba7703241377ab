"""Works without an engine: sequences whose blocks lie where the test says."""

import ctypes
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import torch

from mainspring.infer.backends.native import Native
from mainspring.infer.native.build import library
from mainspring.infer.request import EngineConfig, NativeSettings
from mainspring.models.families.base import family
from mainspring.models.model import Model

CONFIG = EngineConfig(num_blocks=256)
SERVED = ("llama", "mistral", "qwen2", "qwen3", "phi3", "gemma2", "gemma3_text")


@dataclass
class Sequence:
    blocks: list[int]
    adapter: str | None = None
    num_computed: int = 0
    request: SimpleNamespace = field(init=False)

    def __post_init__(self):
        self.request = SimpleNamespace(adapter=self.adapter)


def sequence(number, adapter=None, num_blocks=12):
    """Blocks of its own, not in order; 7 and `num_blocks` have no common factor."""
    assert num_blocks % 7, "a block would be there twice"
    return Sequence([1 + number * num_blocks + (7 * i) % num_blocks for i in range(num_blocks)], adapter)


def run(backend, *pieces, scored=None):
    """One step of (sequence, ids) pairs; the scores of all their rows."""
    works = [
        SimpleNamespace(sequence=each, ids=tuple(ids), num_scored=len(ids) if scored is None else scored)
        for each, ids in pieces
    ]
    scores_NV = backend.step(works).clone()
    for work in works:
        work.sequence.num_computed += len(work.ids)
    return scores_NV


def in_chunks(backend, one, ids, sizes):
    """All scores of a sequence computed piece by piece."""
    rows, start = [], 0
    for size in sizes:
        rows.append(run(backend, (one, ids[start : start + size])))
        start += size
    assert start >= len(ids)
    return torch.cat(rows)


def random_model(name, seed=0):
    """A tiny model of a family whose numbers are large enough to matter everywhere."""
    torch.manual_seed(seed)
    model = Model(family(name).tiny())
    for path, weight in model.named_parameters():
        is_plain_norm = "norm" in path and not model.config.blocks[0].norm.unit_offset
        torch.nn.init.normal_(weight, std=0.2, mean=1.0 if is_plain_norm else 0.0)
    return model.eval().requires_grad_(False)


def native(model, **settings):
    native = NativeSettings(**{"threads": 1, **settings})
    return Native.of(model, CONFIG.model_copy(update={"native": native}))


def random_ids(count, seed=0):
    return np.random.default_rng(seed).integers(7, 288, count).tolist()


def multiply(weight_OI, x_RI, bits=8, march="native"):
    """What the kernels make of rows and a matrix, (R, O)."""
    y_RO = torch.empty(len(x_RI), len(weight_OI))
    call = library(march).mainspring_multiply
    call.restype = ctypes.c_char_p
    weight_OI, x_RI = weight_OI.float().contiguous(), x_RI.float().contiguous()
    pointers = [ctypes.c_void_p(each.data_ptr()) for each in (weight_OI, x_RI, y_RO)]
    assert call(pointers[0], *weight_OI.shape, bits, pointers[1], len(x_RI), pointers[2]) is None
    return y_RO
