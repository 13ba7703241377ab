"""Weights laid out once for a processor's products (oneDNN's blocks), for the shapes where that is faster.

A plain product lays its weights out anew at every call, which for the few rows of a step that decodes takes as long
as the product itself. The copy takes as much memory as the weights. Which shapes are packed stands in the kernel plan.

Shapes: R rows, I inputs, O outputs.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import psutil
import torch
from torch import nn
from torch.nn import functional

from mainspring.models.model import Model

Product = Callable[[torch.Tensor], torch.Tensor]
FEW_ROWS, MANY_ROWS = 8, 128  # of a step that decodes, and of one that reads a prompt
GAIN, LOSS = 0.95, 1.05  # faster with few rows, and hardly slower with many
ROUNDS, MAX_TIMED = 5, 32
ROOM = 0.25  # of the free memory, for the copies
MIN_NUMBERS = 1 << 16  # smaller weights stay in a cache, and their times are noise
DTYPES = (torch.float32, torch.bfloat16)


def is_available() -> bool:
    """Whether this torch can pack."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")


def shape_name(weight_OI: torch.Tensor) -> str:
    """What a plan calls the shape."""
    return "x".join(map(str, weight_OI.shape))


def pack(weight_OI: torch.Tensor, bias_O: torch.Tensor | None = None) -> Product:
    """The linear layer's product with a packed copy of its weight."""
    blocked = torch.ops.mkldnn._reorder_linear_weight(weight_OI.detach(), FEW_ROWS)  # noqa: SLF001 - has no other name
    return partial(_product, blocked=blocked, bias_O=None if bias_O is None else bias_O.detach())


def pack_model(model: Model, shapes: Sequence[str]) -> None:
    """Let the layers of these shapes, the head among them, answer by packed copies; the model learns no more."""
    head, embedding = model.head, model.embedding
    if head is not None and head.out is None and shape_name(embedding.weight) in shapes:
        head.out = nn.Linear(embedding.embedding_dim, embedding.num_embeddings, device="meta")
        head.out.weight = embedding.weight
        head.out.register_parameter("bias", head.bias)
    for linear in _linears(model):
        if shape_name(linear.weight) in shapes:
            linear.forward = pack(linear.weight, linear.bias)  # type: ignore[method-assign]


def all_shapes(model: Model) -> dict[str, list[torch.Tensor]]:
    """Weights that can be packed, by shape."""
    found: dict[str, list[torch.Tensor]] = {}
    tied = [model.embedding.weight] if model.head is not None and model.head.out is None else []
    for weight in [*(each.weight for each in _linears(model)), *tied]:
        if weight.dtype in DTYPES:
            found.setdefault(shape_name(weight), []).append(weight)
    return found


@torch.inference_mode()
def faster(model: Model) -> list[str]:
    """The shapes whose products are faster packed, by a short measurement on the model's own weights."""
    shapes = {name: each for name, each in all_shapes(model).items() if each[0].numel() >= MIN_NUMBERS}
    if sum(weight.nbytes for weights in shapes.values() for weight in weights) > ROOM * free_bytes():
        return []
    return [name for name, weights in shapes.items() if _is_faster(weights[:MAX_TIMED])]


def free_bytes() -> int:
    """Memory that nothing else takes."""
    return psutil.virtual_memory().available


def _is_faster(weights: Sequence[torch.Tensor]) -> bool:
    plain: list[Product] = [partial(functional.linear, weight=each) for each in weights]
    packed = [pack(each) for each in weights]
    return all(
        _ratio(packed, plain, torch.ones(rows, weights[0].shape[1], dtype=weights[0].dtype)) < limit
        for rows, limit in ((FEW_ROWS, GAIN), (MANY_ROWS, LOSS))
    )


def _ratio(packed: Sequence[Product], plain: Sequence[Product], x_RI: torch.Tensor) -> float:
    """Time of the packed to that of the plain products, one weight after the other as in a step; medians of turns."""
    for products in (packed, plain):
        _seconds(products, x_RI)  # the first time is slower
    return median(_seconds(packed, x_RI) / _seconds(plain, x_RI) for _ in range(ROUNDS))


def _seconds(products: Sequence[Product], x_RI: torch.Tensor) -> float:
    began = time.perf_counter()
    for product in products:
        product(x_RI)
    return time.perf_counter() - began


def _product(x_RI: torch.Tensor, blocked: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(x_RI, blocked, bias_O, "none", [], "")  # noqa: SLF001 - has no other name


def _linears(model: Model) -> list[nn.Linear]:
    """Those that compute as they are: no kind of layer that is made of one."""
    return [each for each in model.modules() if type(each) is nn.Linear]
