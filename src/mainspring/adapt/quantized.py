"""Linears whose frozen weights are kept in 4 bits and become numbers again wherever they are multiplied.

nf4: sixteen values that are equally likely under a normal distribution, blocks of 64 (arXiv:2305.14314, section 3
and appendix E). int4: whole numbers from -8 to 7, scaled so that the largest of a block is 7 or -7. The scales of
the blocks may be kept in 8 bits themselves, 256 at a time, around their mean (section 3, double quantization; the
paper has 8-bit floats where we have whole numbers).

Shapes: T tokens, I a linear's inputs, O its outputs, N weights in blocks, B blocks of K weights, G groups of S
scales.
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
    """y = x W^T + b with W from 4 bits; what it learns lies beside it. A block has an even number of weights."""

    codes: torch.Tensor
    scales: torch.Tensor
    steps: torch.Tensor | None
    offset: torch.Tensor | None

    def __init__(self, linear: nn.Linear, kind: FourBits, block: int, *, double: bool) -> None:
        super().__init__()
        self.kind: FourBits = kind
        self.block, self.double_quantization = block, double
        self.out_features, self.in_features = linear.weight.shape
        self.dtype = linear.weight.dtype
        self.bias = linear.bias
        code_N, scale_B = _quantize(linear.weight.detach().float().flatten(), kind, block)
        scales, steps, offset = _quantize_scales(scale_B) if double else (scale_B, None, None)
        self.register_buffer("codes", code_N[0::2] | (code_N[1::2] << 4))
        self.register_buffer("scales", scales)
        self.register_buffer("steps", steps)
        self.register_buffer("offset", offset)

    @property
    def weight(self) -> torch.Tensor:
        """W of shape (O, I), made anew at every reading."""
        pair_VP = _pairs(self.kind, self.codes.device)
        value_BK = pair_VP.index_select(0, self.codes.int()).view(-1, self.block)
        value_BK *= self._scale_B().unsqueeze(1)
        number = self.out_features * self.in_features
        return value_BK.flatten()[:number].view(self.out_features, -1).to(self.dtype)

    def forward(self, x_TI: torch.Tensor) -> torch.Tensor:
        return _Product.apply(x_TI, self)  # type: ignore[no-any-return]

    def _scale_B(self) -> torch.Tensor:
        if self.steps is None or self.offset is None:
            return self.scales
        step_B = self.steps.repeat_interleave(SCALES_A_GROUP)[: len(self.scales)]
        # Rounding may put a scale near zero below it, which would turn the signs of its block.
        return (self.scales * step_B + self.offset).clamp(min=0)


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


def _pairs(kind: FourBits, device: torch.device) -> torch.Tensor:
    """The two values that a byte stands for, (256, 2): its low half is the first of them."""
    values = torch.tensor(NF4) if kind == "nf4" else torch.arange(-8.0, 8.0)
    return torch.stack([values.repeat(16), values.repeat_interleave(16)], dim=1).to(device)


def _quantize(weight_N: torch.Tensor, kind: FourBits, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes uint8 from 0 to 15, an even number of them, and the scale of each block."""
    value_BK = functional.pad(weight_N, (0, -len(weight_N) % block)).unflatten(0, (-1, block))
    largest_B = value_BK.abs().amax(1)
    if kind == "int4":
        scale_B = largest_B / 7
        code_BK = (value_BK / scale_B.clamp(min=1e-12).unsqueeze(1)).round().clamp(-8, 7) + 8
        return code_BK.flatten().to(torch.uint8), scale_B
    table = torch.tensor(NF4, device=weight_N.device)
    middles = (table[1:] + table[:-1]) / 2
    unit_BK = value_BK / largest_B.clamp(min=1e-12).unsqueeze(1)
    return torch.bucketize(unit_BK, middles, out_int32=True).flatten().to(torch.uint8), largest_B


def _quantize_scales(scale_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scales as int8 steps around their mean, a step for every group of them: (B,), (G,), a scalar."""
    offset = scale_B.mean()
    value_GS = functional.pad(scale_B - offset, (0, -len(scale_B) % SCALES_A_GROUP)).unflatten(
        0, (-1, SCALES_A_GROUP)
    )
    steps = value_GS.abs().amax(1).clamp(min=1e-12) / 127
    scales = (value_GS / steps.unsqueeze(1)).round().to(torch.int8).flatten()[: len(scale_B)]
    return scales.clone(), steps, offset
