"""Who attends to whom: what an attention layer asks once its queries, keys and values are made.

Shapes: T tokens, B segments of L tokens, H heads, G key-value heads, K head size. A layer never sees segments
or caches: the trainer passes PackedAttend, the engine its paged one, and the modules stay the same.
"""

import itertools
from collections.abc import Sequence
from typing import Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention


class Attend(Protocol):
    """Mixes values over the tokens that each token may see."""

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor, *, causal: bool
    ) -> torch.Tensor:
        """Return o_THK. `layer` tells a cache which of its tensors belongs to the caller."""
        ...


class PackedAttend:
    """Attention within each of the segments that are packed into one flat row; differentiable.

    Args:
        lengths: number of tokens of each segment, in order; what stands behind the last one gets zeros.

    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)
        self._runs = [(length, len(list(same))) for length, same in itertools.groupby(lengths) if length]

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor, *, causal: bool
    ) -> torch.Tensor:
        rest = q_THK.shape[0] - sum(self.lengths)
        sizes = [length * count for length, count in self._runs]
        parts = zip(*(x.split([*sizes, rest]) for x in (q_THK, k_TGK, v_TGK)), strict=True)
        out = [
            _attend_run(*part, length=length, causal=causal)
            for part, (length, _) in zip(parts, self._runs, strict=False)
        ]
        return torch.cat([*out, torch.zeros_like(q_THK[:rest])]) if rest else torch.cat(out)


def _attend_run(
    q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor, *, length: int, causal: bool
) -> torch.Tensor:
    """Segments of one length that follow each other, as one batch."""
    q_BHLK, k_BGLK, v_BGLK = (x.unflatten(0, (-1, length)).transpose(1, 2) for x in (q_THK, k_TGK, v_TGK))
    grouped = q_THK.shape[1] != k_TGK.shape[1]
    o_BHLK = scaled_dot_product_attention(q_BHLK, k_BGLK, v_BGLK, is_causal=causal, enable_gqa=grouped)
    return o_BHLK.transpose(1, 2).flatten(0, 1)


def reference_attend(
    q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor, *, causal: bool
) -> torch.Tensor:
    """The same for one segment, as the formula reads: softmax(q k^T / sqrt(K)) v.

    Paper: arXiv:1706.03762, eq. 1.
    """
    num_tokens, num_heads, head_size = q_THK.shape
    repeat = num_heads // k_TGK.shape[1]
    k_THK, v_THK = k_TGK.repeat_interleave(repeat, 1), v_TGK.repeat_interleave(repeat, 1)
    scores_HTT = torch.einsum("thk,shk->hts", q_THK, k_THK) / head_size**0.5
    if causal:
        future_TT = torch.ones(num_tokens, num_tokens, dtype=torch.bool).triu(1)
        scores_HTT = scores_HTT.masked_fill(future_TT, float("-inf"))
    return torch.einsum("hts,shk->thk", scores_HTT.softmax(-1), v_THK)
