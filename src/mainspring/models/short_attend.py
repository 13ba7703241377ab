"""Causal attention of short segments in half precision, made of a few large products.

torch's fused kernel on processors works through every head row by row; over segments of up to MAX_TOKENS, products
of whole blocks of queries with all keys that they see are two to three times as fast, forwards and backwards. The
weights are kept for the gradient: T * L numbers a head, which is why it is for short segments only.

    queries  keys ->        block 0: first C queries, first C keys
    block 0  #.             block 1: next C queries, first 2 C keys
    block 1  ###.           . is the block's own triangle, the only part that needs a mask

Paper: arXiv:1706.03762, eq. 1; the gradient of a softmax's rows p is p * (g - sum(g * p)).

Shapes: N segments times key-value heads, R query heads that share one, L tokens, C queries of a block, M keys that
these see, K head size, V value size.
"""

import math
from typing import Any

import torch

softmax_gradient = torch.ops.aten._softmax_backward_data  # noqa: SLF001 - fused, and torch gives it no other name
MAX_TOKENS = 1024
BLOCK = 128


def is_short(q_BHLK: torch.Tensor, num_keys: int) -> bool:
    """Whether to take this way: in autocast of bf16, which is training, and in no exact mode of an engine."""
    is_half = q_BHLK.dtype == torch.bfloat16 and torch.is_autocast_enabled(q_BHLK.device.type)
    return is_half and q_BHLK.device.type == "cpu" and q_BHLK.shape[2] == num_keys <= MAX_TOKENS


def attend_short(
    q_BHLK: torch.Tensor, k_BGLK: torch.Tensor, v_BGLV: torch.Tensor, scale: float
) -> torch.Tensor:
    """o_BHLV of causal attention; heads that share keys are rows of one product."""
    num_groups = k_BGLK.shape[1]
    q_NRLK = q_BHLK.unflatten(1, (num_groups, -1)).flatten(0, 1)
    k_NLK, v_NLV = (x.flatten(0, 1).contiguous() for x in (k_BGLK, v_BGLV))
    with torch.autocast(q_BHLK.device.type, enabled=False):
        o_NRLV = _ShortAttend.apply(q_NRLK, k_NLK, v_NLV, scale)
    return o_NRLV.unflatten(0, (-1, num_groups)).flatten(1, 2)  # type: ignore[no-any-return]


class _ShortAttend(torch.autograd.Function):
    """Keeps the weights of every block of queries for the gradient."""

    @staticmethod
    def forward(
        ctx: Any, q_NRLK: torch.Tensor, k_NLK: torch.Tensor, v_NLV: torch.Tensor, scale: float
    ) -> torch.Tensor:
        num_tokens = q_NRLK.shape[2]
        q_NRLK = torch.mul(q_NRLK, scale, out=torch.empty(q_NRLK.shape, dtype=q_NRLK.dtype))
        mask_CC = torch.full((BLOCK, BLOCK), -math.inf, dtype=q_NRLK.dtype).triu(1)
        o_NRLV = q_NRLK.new_empty(*q_NRLK.shape[:3], v_NLV.shape[2])
        weights: list[torch.Tensor] = []
        for start in range(0, num_tokens, BLOCK):
            end = min(num_tokens, start + BLOCK)
            block = slice(start, end)
            scores_NXM = torch.bmm(q_NRLK[:, :, block].flatten(1, 2), k_NLK[:, :end].transpose(1, 2))
            scores_NXM.unflatten(1, (-1, end - start))[..., block].add_(mask_CC[: end - start, : end - start])
            weights.append(scores_NXM.softmax(-1))
            o_NXV = torch.bmm(weights[-1], v_NLV[:, :end])
            o_NRLV[:, :, block] = o_NXV.unflatten(1, (-1, end - start))
        ctx.save_for_backward(q_NRLK, k_NLK, v_NLV, *weights)
        ctx.scale = scale
        return o_NRLV

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        (do_NRLV,) = grads
        q_NRLK, k_NLK, v_NLV, *weights = ctx.saved_tensors
        num_tokens = q_NRLK.shape[2]
        dq_NRLK = torch.empty_like(q_NRLK)
        dk_NLK, dv_NLV = torch.empty(0), torch.empty(0)
        for at, weights_NXM in reversed(list(enumerate(weights))):
            block = slice(at * BLOCK, min(num_tokens, (at + 1) * BLOCK))
            q_NXK, do_NXV = q_NRLK[:, :, block].flatten(1, 2), do_NRLV[:, :, block].flatten(1, 2)
            dv_NMV = torch.bmm(weights_NXM.transpose(1, 2), do_NXV)
            dweights_NXM = torch.bmm(do_NXV, v_NLV[:, : block.stop].transpose(1, 2))
            dscores_NXM = softmax_gradient(dweights_NXM, weights_NXM, -1, weights_NXM.dtype)
            dq_NXK = torch.bmm(dscores_NXM, k_NLK[:, : block.stop])
            dq_NRLK[:, :, block] = dq_NXK.unflatten(1, (-1, block.stop - block.start))
            dk_NMK = torch.bmm(dscores_NXM.transpose(1, 2), q_NXK)
            if block.stop == num_tokens:  # the last block sees all keys, so it comes first
                dk_NLK, dv_NLV = dk_NMK, dv_NMV
            else:
                dk_NLK[:, : block.stop] += dk_NMK
                dv_NLV[:, : block.stop] += dv_NMV
        return dq_NRLK.mul_(ctx.scale), dk_NLK, dv_NLV, None
