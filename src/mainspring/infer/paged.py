"""Attention over a paged cache, in which a row's bits depend on its own keys and values alone.

Shapes: T tokens of the step, N sequences side by side, R query rows of one key-value head (padded), H heads,
G key-value heads, F heads that share one, K key size, V value size, C keys of one chunk, S slots of the cache
(one token each).

Keys are read in chunks of a fixed size and joined by an online softmax (arXiv:1805.02867, alg. 3), so the
length of a sum never depends on how many keys there are. A chunk that a row cannot see adds exact zeros to
it, so it does not matter how many chunks the neighbors need. Reads beyond a sequence's end fall on the
scratch block.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import torch
from torch.nn import functional

from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.kernels import ATTENTION_CHUNK
from mainspring.infer.layout import kv_layout
from mainspring.infer.states import Round, StateCache
from mainspring.models.attend import Run, Scoring
from mainspring.models.config import ModelConfig

SEES_ALL = 1 << 40
LOWEST = -1e30  # below every score, and finite, so that a difference of two of them is a number


class KvCache:
    """Keys (G, S, K), values (G, S, V) and states of every layer, in the precision they are computed in.

    Where keys hold the values as their first numbers, the values are a view of them.
    """

    def __init__(self, config: ModelConfig, num_blocks: int, block_size: int, dtype: torch.dtype) -> None:
        num_slots, self._block_size = num_blocks * block_size, block_size
        self.states = [StateCache(num_blocks) for _ in config.blocks]
        layouts = [kv_layout(block.mixer) for block in config.blocks]
        self.keys = [
            torch.zeros(each.num_kv_heads, num_slots, each.key_size, dtype=dtype) for each in layouts
        ]
        self.values = [
            keys_GSK[..., : each.value_size] if each.values_in_keys else torch.zeros_like(keys_GSK)
            for each, keys_GSK in zip(layouts, self.keys, strict=True)
        ]

    def copy_block(self, source: int, target: int) -> None:
        for each_GSX in (*self.keys, *self.values):
            blocks = each_GSX.unflatten(1, (-1, self._block_size))
            blocks[:, target] = blocks[:, source]
        for states in self.states:
            states.copy(source, target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Sequences that are attended for side by side, each with the same number of tokens in this step.

    rows_NT: which of the step's tokens are the sequence's. slots_NS: where its keys lie, padded with scratch;
    in the exact mode to a multiple of the chunk. last_NT: the last position each token sees, which is its own.
    """

    rows_NT: torch.Tensor
    slots_NS: torch.Tensor
    last_NT: torch.Tensor


@dataclass(frozen=True, slots=True)
class Chunk:
    """Keys read together: where they lie, the first query row that may see any, and what rows cannot see."""

    slots: torch.Tensor
    first: int
    hidden_NRC: torch.Tensor | None


class PagedAttend:
    """The engine's Attend for one step: store the step's keys and values, then attend group by group.

    `through` are the rounds in which its tokens go through states, if the model has any.
    """

    is_cache = True

    def __init__(
        self, cache: KvCache, slots_T: torch.Tensor, groups: list[Group], plan: KernelPlan,
        through: Sequence[Round] = (),
    ) -> None:  # fmt: skip
        self._cache, self._slots_T, self._plan = cache, slots_T, plan
        self._groups, self._through = groups, through
        self.pad = plan.pad
        self._chunks_of: dict[tuple[int, int, int | None], list[Chunk]] = {}

    def __call__(
        self, layer: int, q_THK: torch.Tensor, k_TGK: torch.Tensor, v_TGV: torch.Tensor, scoring: Scoring
    ) -> torch.Tensor:
        assert scoring.causal, "the engine decodes; models that look both ways do not come here"
        assert scoring.bias is None, "the engine has no scores by distance; serves() keeps such models out"
        keys_GSK, values_GSV = self._cache.keys[layer], self._cache.values[layer]
        keys_GSK[:, self._slots_T] = k_TGK.transpose(0, 1)
        if not scoring.values_in_keys:
            values_GSV[:, self._slots_T] = v_TGV.transpose(0, 1)
        q_TGFK = q_THK.unflatten(1, (len(keys_GSK), -1))
        repeat = q_TGFK.shape[2]
        o_TGFV = q_THK.new_zeros(*q_TGFK.shape[:3], v_TGV.shape[2])
        for index, group in enumerate(self._groups):
            kind = (index, repeat, scoring.window)  # all layers of one kind read the same chunks
            if kind not in self._chunks_of:
                self._chunks_of[kind] = list(self._chunks(group, repeat, scoring.window))
            q_GNTFK = q_TGFK[group.rows_NT].permute(2, 0, 1, 3, 4)
            q_BRK = self._query_rows(q_GNTFK) * scoring.scale
            o_BRV = _attend_chunks(q_BRK, keys_GSK, values_GSV, self._chunks_of[kind], scoring.softcap)
            o_GNTFV = o_BRV[:, : group.rows_NT.shape[1] * repeat].reshape(*q_GNTFK.shape[:4], -1)
            o_TGFV[group.rows_NT] = o_GNTFV.permute(1, 2, 0, 3, 4)
        return o_TGFV.flatten(1, 2)

    def cross(self, *_: object, **__: object) -> NoReturn:
        raise AssertionError("models with an encoder do not come into the engine; serves() keeps them out")

    def runs(self, layer: int) -> Iterator[Run]:
        states = self._cache.states[layer]
        for each in self._through:
            state = states.read(each.before)
            yield Run(each.rows_R, len(each.before), each.length, state, partial(states.keep, each.after))

    def _query_rows(self, q_GNTFK: torch.Tensor) -> torch.Tensor:
        """The heads that share a key-value head as rows of one product, padded; B = G * N."""
        q_BRK = q_GNTFK.flatten(2, 3).flatten(0, 1)
        num_rows = self._padded(q_BRK.shape[1], q_GNTFK.shape[3])
        return functional.pad(q_BRK, (0, 0, 0, num_rows - q_BRK.shape[1]))

    def _padded(self, num_rows: int, repeat: int) -> int:
        return self._plan.limit * repeat if self._plan.is_fixed else self._plan.pad(num_rows)

    def _chunks(self, group: Group, repeat: int, window: int | None) -> Iterator[Chunk]:
        """What is read of the cache.

        Rows stand in the order of their positions, so the rows that cannot see a chunk yet come first and are
        left out; chunks that no row sees any more are left out as well.
        """
        last_NR = group.last_NT.repeat_interleave(repeat, dim=1)
        num_rows = self._padded(last_NR.shape[1], repeat)
        multiple = num_rows if self._plan.is_fixed else self._plan.multiple
        first_seen = 0 if window is None else max(int(group.last_NT.min()) - window + 1, 0)
        last_NR = functional.pad(last_NR, (0, num_rows - last_NR.shape[1]), value=SEES_ALL)
        for start in range(0, group.slots_NS.shape[1], ATTENTION_CHUNK):
            end = min(start + ATTENTION_CHUNK, group.slots_NS.shape[1])
            if end <= first_seen:
                continue
            first = int((last_NR < start).sum(1).min()) // multiple * multiple
            behind_NRC = torch.arange(start, end) - last_NR[:, first:].unsqueeze(-1)
            hidden_NRC = behind_NRC > 0
            if window is not None:
                hidden_NRC |= behind_NRC <= -window
            slots = group.slots_NS[:, start:end].reshape(-1)
            yield Chunk(slots, first, hidden_NRC if hidden_NRC.any() else None)


def _attend_chunks(
    q_BRK: torch.Tensor, keys_GSK: torch.Tensor, values_GSV: torch.Tensor,
    chunks: list[Chunk], softcap: float | None,
) -> torch.Tensor:  # fmt: skip
    """Online softmax over chunks of keys; a row that sees nothing of a chunk passes it unchanged."""
    batch, num_rows, _ = q_BRK.shape
    best_BR1 = q_BRK.new_full((batch, num_rows, 1), LOWEST)
    total_BR1 = q_BRK.new_zeros(batch, num_rows, 1)
    o_BRV = q_BRK.new_zeros(batch, num_rows, values_GSV.shape[2])
    for chunk in chunks:
        k_BCK, v_BCV = (
            x.index_select(1, chunk.slots).view(batch, -1, x.shape[2]) for x in (keys_GSK, values_GSV)
        )
        scores_BRC = torch.bmm(q_BRK[:, chunk.first :], k_BCK.transpose(1, 2))
        if softcap is not None:
            scores_BRC = torch.tanh(scores_BRC / softcap) * softcap
        if chunk.hidden_NRC is not None:
            scores_BRC.view(-1, *chunk.hidden_NRC.shape).masked_fill_(chunk.hidden_NRC, float("-inf"))
        best, total, o = (x[:, chunk.first :] for x in (best_BR1, total_BR1, o_BRV))
        better = torch.maximum(best, scores_BRC.amax(-1, keepdim=True))
        p_BRC = scores_BRC.sub_(better).exp_()
        shrink = torch.exp(best - better)
        total.mul_(shrink).add_(p_BRC.sum(-1, keepdim=True))
        o.mul_(shrink).add_(torch.bmm(p_BRC, v_BCV))
        best.copy_(better)
    return o_BRV / total_BR1
