"""Linears whose frozen weights are kept in 4 bits and become numbers again wherever they are multiplied.

nf4: sixteen values that are equally likely under a normal distribution, blocks of 64, and scales that are kept in
8 bits themselves, 256 at a time (arXiv:2305.14314, section 3 and appendix E). int4: whole numbers from -8 to 7.

Shapes: T tokens, I a linear's inputs, O its outputs, N weights in blocks, B blocks of K weights.
"""

from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

FourBits = Literal["nf4", "int4"]
SCALES_A_GROUP = 256
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


class QuantLinear(nn.Module):
    """y = x W^T + b with W from 4 bits; what it learns lies beside it."""

    codes: torch.Tensor
    scales: torch.Tensor
    offset: torch.Tensor
    steps: torch.Tensor

    def __init__(self, linear: nn.Linear, kind: FourBits, block: int) -> None:
        super().__init__()
        self.kind, self.block = kind, block
        self.out_features, self.in_features = linear.weight.shape
        self.dtype = linear.weight.dtype
        self.bias = linear.bias
        codes, scale_B = _quantize(linear.weight.detach().float().flatten(), kind, block)
        self.register_buffer("codes", codes[0::2] | (codes[1::2] << 4))
        scales, steps, offset = _quantize_scales(scale_B)
        self.register_buffer("scales", scales)
        self.register_buffer("steps", steps)
        self.register_buffer("offset", offset)

    @property
    def weight(self) -> torch.Tensor:
        """W of shape (O, I), made anew at every reading."""
        codes_N = torch.stack([self.codes & 15, self.codes >> 4], dim=1).flatten().long()
        number = self.out_features * self.in_features
        table = torch.tensor(NF4) if self.kind == "nf4" else torch.arange(-8.0, 8.0)
        value_BK = table[codes_N].unflatten(0, (-1, self.block))
        scale_B = _scales(self.scales, self.steps, self.offset)[: len(value_BK)]
        return (value_BK * scale_B.unsqueeze(1)).flatten()[:number].view(self.out_features, -1).to(self.dtype)

    def forward(self, x_TI: torch.Tensor) -> torch.Tensor:
        return _Product.apply(x_TI, self)  # type: ignore[no-any-return]


class _Product(torch.autograd.Function):
    """The weights are made a second time for the gradient instead of being kept for it."""

    @staticmethod
    def forward(ctx: Any, x_TI: torch.Tensor, linear: QuantLinear) -> torch.Tensor:
        ctx.linear = linear
        return functional.linear(x_TI, linear.weight.to(x_TI.dtype), linear.bias)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (grad_TO,) = grads
        return grad_TO @ ctx.linear.weight.to(grad_TO.dtype), None


def _quantize(weight_N: torch.Tensor, kind: FourBits, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes uint8 from 0 to 15, an even number of them, and the scale of each block."""
    value_BK = functional.pad(weight_N, (0, -len(weight_N) % block)).unflatten(0, (-1, block))
    largest_B = value_BK.abs().amax(1)
    if kind == "int4":
        scale_B = largest_B / 7
        code_BK = (value_BK / scale_B.clamp(min=1e-12).unsqueeze(1)).round().clamp(-8, 7) + 8
        return code_BK.flatten().to(torch.uint8), scale_B
    table = torch.tensor(NF4)
    middles = (table[1:] + table[:-1]) / 2
    unit_BK = value_BK / largest_B.clamp(min=1e-12).unsqueeze(1)
    return torch.bucketize(unit_BK, middles).flatten().to(torch.uint8), largest_B


def _quantize_scales(scale_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scales as int8 steps around their mean, a step for every group of them: (B,), (G,), a scalar."""
    offset = scale_B.mean()
    value_GS = functional.pad(scale_B - offset, (0, -len(scale_B) % SCALES_A_GROUP)).unflatten(
        0, (-1, SCALES_A_GROUP)
    )
    steps = value_GS.abs().amax(1).clamp(min=1e-12) / 127
    return (value_GS / steps.unsqueeze(1)).round().to(torch.int8).flatten(), steps, offset


def _scales(scales: torch.Tensor, steps: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    return (scales.unflatten(0, (-1, SCALES_A_GROUP)) * steps.unsqueeze(1)).flatten() + offset
