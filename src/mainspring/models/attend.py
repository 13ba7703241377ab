"""Who attends to whom: what a mixer asks of its surroundings, which it never sees.

The trainer passes PackedAttend, the engine its paged one, and the modules stay the same.

Shapes: T tokens, S tokens of the source, B segments of L (and M source) tokens, H heads, G key-value heads,
K head size, V value size.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention

from mainspring.models.short_attend import attend_short, is_short

Bias = Callable[[torch.Tensor], torch.Tensor]
"""Distances key - query (L, M) to what is added to the scores of every head (H, L, M)."""
State = tuple[torch.Tensor, ...]
BAND = 128  # queries that look at their windows together


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """How queries and keys become weights; see AttentionSpec.

    The first `num_global` tokens of a segment are seen from everywhere, whatever the window.
    `values_in_keys`: the values are the first numbers of the keys, so that a cache stores the keys alone.
    """

    scale: float
    causal: bool = True
    window: int | None = None
    softcap: float | None = None
    bias: Bias | None = None
    num_global: int = 0
    values_in_keys: bool = False

    @property
    def reach(self) -> tuple[int, int]:
        """How many tokens before and behind itself a token sees within its window."""
        assert self.window is not None, "without a window all tokens are seen"
        return (self.window - 1, 0) if self.causal else (self.window // 2, self.window // 2)

    def sees(self, distance_LM: torch.Tensor) -> torch.Tensor | None:
        """Which keys, those from the segment's first on, the queries at these distances see; None for all."""
        seen_LM = distance_LM <= 0 if self.causal else None
        if self.window is None:
            return seen_LM
        near_LM = distance_LM.abs() <= self.reach[0]
        near_LM[:, : self.num_global] = True
        return near_LM if seen_LM is None else seen_LM & near_LM


@dataclass(frozen=True, slots=True)
class Run:
    """Segments of one length, one behind the other: `count` of `length` tokens at `rows` of the flat tensors.

    `state` is what a recurrent mixer left behind the tokens before these, None at a beginning; `keep` takes
    what it leaves now. States have the segment as their first dimension.
    """

    rows: slice | torch.Tensor
    count: int
    length: int
    state: State | None = None
    keep: Callable[[State], None] = lambda _: None


class Attend(Protocol):
    """Mixes values over the tokens that each token may see.

    `is_cache`: keys and values stay for later tokens, so small ones are worth more than cheap scores.
    """

    is_cache: bool

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGV: torch.Tensor, scoring: Scoring
    ) -> torch.Tensor:
        """Return o_THV. `layer` tells a cache which of its tensors belongs to the caller."""
        ...

    def cross(
        self,
        layer: int,
        q_THK: torch.Tensor,
        source: Callable[[], tuple[torch.Tensor, torch.Tensor]],
        scoring: Scoring,
    ) -> torch.Tensor:
        """The same over the segment's source; `source` makes k_SGK and v_SGV, which a cache asks for once."""
        ...

    def runs(self, layer: int) -> Iterator[Run]:
        """For mixers that go from token to token: all rows, in runs of segments."""
        ...

    def pad(self, num_rows: int) -> int:
        """How many rows a product over some of the tokens is to have; the engine's exact mode wants more."""
        ...


class PackedAttend:
    """Attention within each of the segments that are packed into one flat row; differentiable.

    Args:
        lengths: number of tokens of each segment, in order; what stands behind the last one gets zeros.
        source_lengths: the same of the encoder's stream, for models that have one.

    """

    is_cache = False

    def __init__(self, lengths: Sequence[int], source_lengths: Sequence[int] | None = None) -> None:
        self.lengths = list(lengths)
        pairs = list(zip(lengths, source_lengths or lengths, strict=True))
        self._runs = [(*pair, len(list(same))) for pair, same in itertools.groupby(pairs) if pair[0]]

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGV: torch.Tensor, scoring: Scoring
    ) -> torch.Tensor:
        return _attend_runs((q_THK, k_TGK, v_TGV), [(n, n, count) for n, _, count in self._runs], scoring)

    def cross(
        self,
        layer: int,
        q_THK: torch.Tensor,
        source: Callable[[], tuple[torch.Tensor, torch.Tensor]],
        scoring: Scoring,
    ) -> torch.Tensor:
        return _attend_runs((q_THK, *source()), self._runs, scoring)

    def runs(self, layer: int) -> Iterator[Run]:
        start = 0
        for length, _, count in self._runs:
            yield Run(slice(start, start + length * count), count, length)
            start += length * count

    def pad(self, num_rows: int) -> int:
        return num_rows


def _attend_runs(
    qkv: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    runs: Sequence[tuple[int, int, int]],
    scoring: Scoring,
) -> torch.Tensor:
    """Each run of (length, source length, count) as one batch; rows behind the last run get zeros."""
    num_rows, num_source_rows = (sum(run[at] * run[2] for run in runs) for at in (0, 1))
    q_THK, k_MGK, v_MGV = qkv[0][:num_rows], qkv[1][:num_source_rows], qkv[2][:num_source_rows]
    # Split and not sliced: every slice's gradient would be a tensor of the size of the whole.
    q_split = q_THK.split([length * count for length, _, count in runs])
    kv_split = [x.split([length * count for _, length, count in runs]) for x in (k_MGK, v_MGV)]
    out: list[torch.Tensor] = []
    for run, q, k, v in zip(runs, q_split, *kv_split, strict=True):
        q_BHLK = q.unflatten(0, (-1, run[0])).transpose(1, 2)
        k_BGMK, v_BGMV = (x.unflatten(0, (-1, run[1])).transpose(1, 2) for x in (k, v))
        out.append(attend_batch(q_BHLK, k_BGMK, v_BGMV, scoring).transpose(1, 2).flatten(0, 1))
    if num_rows < len(qkv[0]):
        out.append(qkv[0].new_zeros(len(qkv[0]) - num_rows, qkv[0].shape[1], qkv[2].shape[2]))
    return torch.cat(out)


def attend_batch(
    q_BHLK: torch.Tensor, k_BGMK: torch.Tensor, v_BGMV: torch.Tensor, scoring: Scoring, first: int = 0
) -> torch.Tensor:
    """o_BHLV of segments of one length, fused wherever torch's kernel knows the scoring.

    `first` is the place of the first query among the keys; a cache has keys before it.
    """
    num_queries, num_keys = q_BHLK.shape[2], k_BGMK.shape[2]
    grouped = q_BHLK.shape[1] != k_BGMK.shape[1]
    sees_all = scoring.window is None or num_keys <= scoring.window // 2
    is_plain = sees_all and scoring.bias is None and scoring.softcap is None
    if scoring.window is not None and num_keys > 2 * (BAND + sum(scoring.reach)):
        return _attend_band(q_BHLK, k_BGMK, v_BGMV, scoring, first)
    if is_plain and scoring.values_in_keys and num_queries == 1:
        # The newest token sees all: heads that share a key are rows of one product, and it is not repeated.
        q_BGRK = q_BHLK.squeeze(2).unflatten(1, (k_BGMK.shape[1], -1))
        o_BGRV = scaled_dot_product_attention(q_BGRK, k_BGMK, v_BGMV, scale=scoring.scale)
        return o_BGRV.flatten(1, 2).unsqueeze(2)
    if is_plain and scoring.causal and is_short(q_BHLK, num_keys):
        return attend_short(q_BHLK, k_BGMK, v_BGMV, scoring.scale)
    if is_plain and (num_queries == num_keys or not scoring.causal):
        return scaled_dot_product_attention(
            q_BHLK, k_BGMK, v_BGMV, is_causal=scoring.causal, scale=scoring.scale, enable_gqa=grouped
        )
    distance_LM = torch.arange(num_keys) - torch.arange(first, first + num_queries).unsqueeze(1)
    return _attend_masked(q_BHLK, k_BGMK, v_BGMV, distance_LM, scoring)


def _attend_band(
    q_BHLK: torch.Tensor, k_BGMK: torch.Tensor, v_BGMV: torch.Tensor, scoring: Scoring, first: int
) -> torch.Tensor:
    """Queries block by block, each with the keys that any of them sees: work grows with the window, not with M."""
    before, after = scoring.reach
    num_keys, num_global = k_BGMK.shape[2], scoring.num_global
    out: list[torch.Tensor] = []
    for start in range(first, first + q_BHLK.shape[2], BAND):
        q_BHBK = q_BHLK[:, :, start - first : start - first + BAND]
        end = start + q_BHBK.shape[2]
        near = range(max(start - before, num_global), min(end + after, num_keys))
        at_M = torch.tensor([*range(num_global), *near])
        distance_LM = at_M - torch.arange(start, end).unsqueeze(1)
        k_BGNK, v_BGNV = (x.index_select(2, at_M) for x in (k_BGMK, v_BGMV))
        out.append(_attend_masked(q_BHBK, k_BGNK, v_BGNV, distance_LM, scoring))
    return torch.cat(out, dim=2)


def _attend_masked(
    q_BHLK: torch.Tensor,
    k_BGMK: torch.Tensor,
    v_BGMV: torch.Tensor,
    distance_LM: torch.Tensor,
    scoring: Scoring,
) -> torch.Tensor:
    """`distance_LM` is key position - query position; the global keys come first."""
    if scoring.softcap is not None:
        return _attend_softcapped(q_BHLK, k_BGMK, v_BGMV, distance_LM, scoring)
    mask = additive_mask(distance_LM, scoring, q_BHLK.dtype)
    grouped = q_BHLK.shape[1] != k_BGMK.shape[1]
    return scaled_dot_product_attention(
        q_BHLK, k_BGMK, v_BGMV, attn_mask=mask, scale=scoring.scale, enable_gqa=grouped
    )


def additive_mask(distance_LM: torch.Tensor, scoring: Scoring, dtype: torch.dtype) -> torch.Tensor:
    """What is added to scores, (L, M) or (H, L, M): the bias, and -inf where nothing is seen."""
    mask = torch.zeros(distance_LM.shape, dtype=dtype)
    seen_LM = scoring.sees(distance_LM)
    if seen_LM is not None:
        mask = mask.masked_fill(~seen_LM, float("-inf"))
    return mask if scoring.bias is None else mask + scoring.bias(distance_LM).to(dtype)


def _attend_softcapped(
    q_BHLK: torch.Tensor,
    k_BGMK: torch.Tensor,
    v_BGMV: torch.Tensor,
    distance_LM: torch.Tensor,
    scoring: Scoring,
) -> torch.Tensor:
    """softmax(cap * tanh(scores / cap)); arXiv:2408.00118, section 2. No fused kernel of torch's CPU has it."""
    assert scoring.softcap is not None
    repeat = q_BHLK.shape[1] // k_BGMK.shape[1]
    k_BHMK, v_BHMV = (x.repeat_interleave(repeat, 1) for x in (k_BGMK, v_BGMV))
    scores_BHLM = q_BHLK @ k_BHMK.transpose(2, 3) * scoring.scale
    scores_BHLM = torch.tanh(scores_BHLM / scoring.softcap) * scoring.softcap
    return (scores_BHLM + additive_mask(distance_LM, scoring, q_BHLK.dtype)).softmax(-1) @ v_BHMV


def reference_attend(
    q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGV: torch.Tensor, scoring: Scoring
) -> torch.Tensor:
    """The same for one segment, token by token, as the formula reads: softmax(q k^T * scale) v.

    Paper: arXiv:1706.03762, eq. 1.
    """
    repeat = q_THK.shape[1] // k_TGK.shape[1]
    out = []
    for at, q_HK in enumerate(q_THK):
        distance_M = torch.arange(len(k_TGK)) - at
        scores_HM = torch.einsum("hk,mhk->hm", q_HK, k_TGK.repeat_interleave(repeat, 1)) * scoring.scale
        if scoring.softcap is not None:
            scores_HM = torch.tanh(scores_HM / scoring.softcap) * scoring.softcap
        if scoring.bias is not None:
            scores_HM = scores_HM + scoring.bias(distance_M.unsqueeze(0))[:, 0]
        seen_M = torch.ones(len(k_TGK), dtype=torch.bool)
        if scoring.causal:
            seen_M &= distance_M <= 0
        if scoring.window is not None:
            reach = scoring.window - 1 if scoring.causal else scoring.window // 2
            seen_M &= (distance_M.abs() <= reach) | (torch.arange(len(k_TGK)) < scoring.num_global)
        weights_HM = scores_HM.masked_fill(~seen_M, float("-inf")).softmax(-1)
        out.append(torch.einsum("hm,mhk->hk", weights_HM, v_TGV.repeat_interleave(repeat, 1)))
    return torch.stack(out)
