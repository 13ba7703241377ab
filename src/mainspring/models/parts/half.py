"""What training in bf16 can do in fewer passes over memory; in any other precision nothing of this is used.

Under autocast torch makes each cast, and each step of a norm or of a rotation, by itself. These make the same numbers
with less traffic: products of one input share its cast, and norm and rotation have gradients of their own, which keep
fp32 inside.

Shapes: T tokens, D width, H heads, K head size, k half the rotated size, C tokens at a time.
"""

from typing import Any

import torch
from torch import nn

CACHED = 2**17
"""Numbers that are turned at a time: in fp32 they stay in a core's cache from one step to the next."""


def is_half(x: torch.Tensor) -> bool:
    """Whether products of x are made in bf16 while x itself may be more precise."""
    device = x.device.type
    is_bf16 = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    return is_bf16 and x.dtype in (torch.float32, torch.bfloat16)


def shared(x_TD: torch.Tensor) -> torch.Tensor:
    """The input of several products, cast once."""
    return x_TD.to(torch.bfloat16) if is_half(x_TD) else x_TD


class RmsNorm(nn.RMSNorm):
    """torch's, with a gradient in few passes where x is fp32 among products in bf16."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.float32 or not is_half(x) or self.eps is None:
            return super().forward(x)
        return rms(x, self.weight, self.eps)


def rms(x_TD: torch.Tensor, weight_D: torch.Tensor, eps: float) -> torch.Tensor:
    """RMS norm over the last dimension (arXiv:1910.07467, eq. 4)."""
    return _Rms.apply(x_TD, weight_D, eps)  # type: ignore[no-any-return]


class _Rms(torch.autograd.Function):
    """y = w x / r with r = sqrt(mean(x^2) + eps), so dx = (w g - x mean(w g x) / r^2) / r."""

    @staticmethod
    def forward(ctx: Any, x_TD: torch.Tensor, weight_D: torch.Tensor, eps: float) -> torch.Tensor:
        square_T1 = torch.linalg.vector_norm(x_TD, dim=-1, keepdim=True).square_()
        inverse_T1 = square_T1.div_(x_TD.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x_TD, weight_D, inverse_T1)
        return (x_TD * inverse_T1).mul_(weight_D)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        x_TD, weight_D, inverse_T1 = ctx.saved_tensors
        normed_TD = x_TD * inverse_T1
        each_TD = grads[0] * normed_TD
        mean_T1 = (each_TD @ weight_D).unsqueeze(-1).div_(x_TD.shape[-1])
        dx_TD = (grads[0] * weight_D).addcmul_(normed_TD, mean_T1, value=-1.0).mul_(inverse_T1)
        return dx_TD, each_TD.flatten(0, -2).sum(0), None


def turned(x_THK: torch.Tensor, cos_T1k: torch.Tensor, sin_T1k: torch.Tensor) -> torch.Tensor:
    """Each pair (k, k + K/2) turned by its token's angle, computed in fp32 and given in the dtype of x."""
    return _Turned.apply(x_THK, cos_T1k, sin_T1k)  # type: ignore[no-any-return]


class _Turned(torch.autograd.Function):
    """The gradient is turned back."""

    @staticmethod
    def forward(ctx: Any, x_THK: torch.Tensor, cos_T1k: torch.Tensor, sin_T1k: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos_T1k, sin_T1k)
        return _turn(x_THK, cos_T1k, sin_T1k, 1.0)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        cos_T1k, sin_T1k = ctx.saved_tensors
        return _turn(grads[0], cos_T1k, sin_T1k, -1.0), None, None


def _turn(x_THK: torch.Tensor, cos_T1k: torch.Tensor, sin_T1k: torch.Tensor, way: float) -> torch.Tensor:
    """In blocks of tokens: over all of them every step would wait for memory."""
    turned_THK = x_THK.new_empty(x_THK.shape)
    size = max(1, CACHED // x_THK[0].numel())
    parts = zip(*(x.split(size) for x in (x_THK, cos_T1k, sin_T1k, turned_THK)), strict=True)
    for x_CHK, cos_C1k, sin_C1k, out_CHK in parts:
        full_CHK = x_CHK.float()
        (left, right), made_CHK = full_CHK.chunk(2, dim=-1), torch.empty_like(full_CHK)
        made_left, made_right = made_CHK.chunk(2, dim=-1)
        torch.mul(left, cos_C1k, out=made_left).addcmul_(right, sin_C1k, value=-way)
        torch.mul(right, cos_C1k, out=made_right).addcmul_(left, sin_C1k, value=way)
        out_CHK.copy_(made_CHK)
    return turned_THK
