"""Attention over a paged cache, in which a row's bits depend on its own keys and values alone.

Shapes: T tokens of the step, N sequences side by side, R query rows of one key-value head (padded), H heads,
G key-value heads, K head size, C keys of one chunk, S slots of the cache (a slot holds one token).

Keys are read in chunks of a fixed size and joined by an online softmax (arXiv:1805.02867, alg. 3), so the
length of a sum never depends on how many keys there are. A chunk that a row cannot see adds exact zeros to
it, so it does not matter how many chunks the neighbors need. Reads beyond a sequence's end fall on the
scratch block.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional

from mainspring.infer.kernels import ATTENTION_CHUNK, KernelPlan
from mainspring.models.config import ModelConfig

SEES_ALL = 1 << 40


class KvCache:
    """Keys and values of all layers, (layer, G, S, K) each, in the precision they are computed in."""

    def __init__(self, config: ModelConfig, num_slots: int) -> None:
        spec = config.blocks[0].attention
        self.repeat = spec.num_heads // spec.num_kv_heads
        shape = (config.num_layers, spec.num_kv_heads, num_slots, spec.head_size)
        self.keys_LGSK, self.values_LGSK = torch.zeros(shape), torch.zeros(shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Sequences that are attended for side by side, each with the same number of tokens in this step.

    rows_NT: which of the step's tokens are the sequence's. slots_NS: where its keys lie, padded with scratch
    to a multiple of the chunk. last_NT: the last position each token sees.
    """

    rows_NT: torch.Tensor
    slots_NS: torch.Tensor
    last_NT: torch.Tensor


@dataclass(frozen=True, slots=True)
class Chunk:
    """Keys read together: where they lie, the first query row that sees any, and what rows cannot see."""

    slots: torch.Tensor
    first: int
    hidden_NRC: torch.Tensor | None


class PagedAttend:
    """The engine's Attend for one step: store the step's keys and values, then attend group by group."""

    def __init__(self, cache: KvCache, slots_T: torch.Tensor, groups: list[Group], plan: KernelPlan) -> None:
        self._cache, self._slots_T, self._plan = cache, slots_T, plan
        self._groups = [(group, self._chunks(group)) for group in groups]

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGK: torch.Tensor, *, causal: bool
    ) -> torch.Tensor:
        assert causal, "the engine decodes; models that look both ways do not come here"
        keys_GSK, values_GSK = self._cache.keys_LGSK[layer], self._cache.values_LGSK[layer]
        keys_GSK[:, self._slots_T] = k_TGK.transpose(0, 1)
        values_GSK[:, self._slots_T] = v_TGK.transpose(0, 1)
        o_THK = torch.zeros_like(q_THK)
        for group, chunks in self._groups:
            q_BRK = self._query_rows(q_THK[group.rows_NT], len(keys_GSK))
            o_BRK = _attend_chunks(q_BRK, keys_GSK, values_GSK, chunks)
            o_THK[group.rows_NT] = self._token_rows(o_BRK, group.rows_NT.shape[1], len(keys_GSK))
        return o_THK

    def _query_rows(self, q_NTHK: torch.Tensor, num_kv_heads: int) -> torch.Tensor:
        """The heads that share a key-value head as rows of one product, scaled and padded; B = G * N."""
        num_rows = q_NTHK.shape[1] * self._cache.repeat
        q_GNTRK = q_NTHK.unflatten(2, (num_kv_heads, -1)).permute(2, 0, 1, 3, 4)
        q_BRK = q_GNTRK.reshape(-1, num_rows, q_NTHK.shape[3])
        return functional.pad(q_BRK, (0, 0, 0, self._padded(num_rows) - num_rows)) * q_NTHK.shape[3] ** -0.5

    def _token_rows(self, o_BRK: torch.Tensor, num_tokens: int, num_kv_heads: int) -> torch.Tensor:
        """The way back: heads of every token, padding left out."""
        rows = o_BRK[:, : num_tokens * self._cache.repeat]
        o_GNTRK = rows.reshape(num_kv_heads, -1, num_tokens, self._cache.repeat, o_BRK.shape[2])
        return o_GNTRK.permute(1, 2, 0, 3, 4).flatten(2, 3)

    def _padded(self, num_rows: int) -> int:
        return self._plan.limit * self._cache.repeat if self._plan.is_fixed else self._plan.pad(num_rows)

    def _chunks(self, group: Group) -> list[Chunk]:
        """What all layers of the step read of the cache.

        Rows stand in the order of their positions, so the rows that cannot see a chunk come first and are
        left out.
        """
        last_NR = group.last_NT.repeat_interleave(self._cache.repeat, dim=1)
        num_rows = self._padded(last_NR.shape[1])
        multiple = num_rows if self._plan.is_fixed else self._plan.multiple
        last_NR = functional.pad(last_NR, (0, num_rows - last_NR.shape[1]), value=SEES_ALL)
        chunks: list[Chunk] = []
        for start in range(0, group.slots_NS.shape[1], ATTENTION_CHUNK):
            end = start + ATTENTION_CHUNK
            first = int((last_NR < start).sum(1).min()) // multiple * multiple
            hidden_NRC = torch.arange(start, end) > last_NR[:, first:].unsqueeze(-1)
            slots = group.slots_NS[:, start:end].reshape(-1)
            chunks.append(Chunk(slots, first, hidden_NRC if hidden_NRC.any() else None))
        return chunks


def _attend_chunks(
    q_BRK: torch.Tensor, keys_GSK: torch.Tensor, values_GSK: torch.Tensor, chunks: list[Chunk]
) -> torch.Tensor:
    """Online softmax over chunks of keys. Every row sees the first chunk: position 0 is in it."""
    batch, num_rows, size = q_BRK.shape
    best_BR1 = torch.full((batch, num_rows, 1), float("-inf"))
    total_BR1 = torch.zeros(batch, num_rows, 1)
    o_BRK = torch.zeros_like(q_BRK)
    for chunk in chunks:
        k_BCK = keys_GSK.index_select(1, chunk.slots).view(batch, ATTENTION_CHUNK, size)
        v_BCK = values_GSK.index_select(1, chunk.slots).view(batch, ATTENTION_CHUNK, size)
        scores_BRC = torch.bmm(q_BRK[:, chunk.first :], k_BCK.transpose(1, 2))
        if chunk.hidden_NRC is not None:
            scores_BRC.view(-1, *chunk.hidden_NRC.shape).masked_fill_(chunk.hidden_NRC, float("-inf"))
        best, total, o = (x[:, chunk.first :] for x in (best_BR1, total_BR1, o_BRK))
        better = torch.maximum(best, scores_BRC.amax(-1, keepdim=True))
        p_BRC = scores_BRC.sub_(better).exp_()
        shrink = torch.exp(best - better)
        total.mul_(shrink).add_(p_BRC.sum(-1, keepdim=True))
        o.mul_(shrink).add_(torch.bmm(p_BRC, v_BCK))
        best.copy_(better)
    return o_BRK / total_BR1
