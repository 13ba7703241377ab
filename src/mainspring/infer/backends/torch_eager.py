"""The oracle: the model's own modules, run by torch as they stand.

Shapes: T tokens of the step (padded), D width, N rows whose next id is chosen, V vocabulary.
"""

import itertools
from collections.abc import Sequence

import torch

from mainspring.adapt import base as adapters
from mainspring.infer.blocks import SCRATCH
from mainspring.infer.kernels import ATTENTION_CHUNK, KernelPlan
from mainspring.infer.paged import Group, KvCache, PagedAttend
from mainspring.infer.request import EngineConfig
from mainspring.infer.scheduler import Work
from mainspring.models.model import Model


class TorchEager:
    """A backend in the exact mode: every product has a number of rows from the kernel plan's class."""

    name = "torch_eager"
    is_exact = True
    chunk = ATTENTION_CHUNK

    def __init__(self, model: Model, plan: KernelPlan, config: EngineConfig) -> None:
        self._model, self._plan = model.eval(), plan
        self._block_size = config.block_size
        num_slots = config.num_blocks * config.block_size
        self._cache = KvCache(model.config, num_slots, model.embedding.weight.dtype)
        self.context, self.max_step_tokens = model.config.context, plan.limit

    @torch.inference_mode()
    def step(self, works: Sequence[Work], adapter: str | None) -> list[torch.Tensor | None]:
        padded = self._plan.pad(sum(work.num_tokens for work in works))
        ids_T, pos_T = torch.zeros(padded, dtype=torch.int64), torch.zeros(padded, dtype=torch.int64)
        slots_T = torch.full((padded,), SCRATCH * self._block_size)
        ids = [token_id for work in works for token_id in work.sequence.ids[_range(work)]]
        ids_T[: len(ids)] = torch.tensor(ids)
        groups = self._groups(works)
        for group in groups:
            pos_T[group.rows_NT] = group.last_NT
            slots_T[group.rows_NT] = group.slots_NS.gather(1, group.last_NT)
        self._switch(adapter)
        hidden_TD = self._model(ids_T, pos_T, PagedAttend(self._cache, slots_T, groups, self._plan))
        ends = itertools.accumulate(work.num_tokens for work in works)
        return self._scores(works, hidden_TD, [end - 1 for end in ends])

    def _switch(self, adapter: str | None) -> None:
        adapters.activate(self._model, adapter)

    def _scores(
        self, works: Sequence[Work], hidden_TD: torch.Tensor, last_rows: list[int]
    ) -> list[torch.Tensor | None]:
        chosen = [row for work, row in zip(works, last_rows, strict=True) if work.is_complete]
        if not chosen:
            return [None] * len(works)
        padded = chosen + [chosen[0]] * (self._plan.pad(len(chosen)) - len(chosen))
        rows = iter(self._model.logits(hidden_TD[padded]))
        return [next(rows) if work.is_complete else None for work in works]

    def _groups(self, works: Sequence[Work]) -> list[Group]:
        """Sequences that decode go side by side; each prompt goes alone."""
        members: dict[tuple[int, int], list[tuple[int, Work]]] = {}
        row = 0
        for work in works:
            members.setdefault(self._group_key(work, row), []).append((row, work))
            row += work.num_tokens
        return [self._group(each) for each in members.values()]

    def _group_key(self, work: Work, row: int) -> tuple[int, int]:
        """Works of equal keys have equal numbers of tokens and go side by side."""
        return work.num_tokens, 0 if work.num_tokens == 1 else row

    def _group(self, members: list[tuple[int, Work]]) -> Group:
        num_tokens, size = members[0][1].num_tokens, self._block_size
        ends_N1 = torch.tensor([_range(work).stop for _, work in members]).unsqueeze(1)
        width = -(-int(ends_N1.max()) // self.chunk) * self.chunk
        num_blocks = -(-width // size)
        blocks = [work.sequence.blocks[:num_blocks] for _, work in members]
        table_NB = torch.tensor([each + [SCRATCH] * (num_blocks - len(each)) for each in blocks])
        slots_NS = (table_NB.unsqueeze(2) * size + torch.arange(size)).flatten(1)[:, :width]
        steps_T = torch.arange(num_tokens)
        return Group(
            rows_NT=torch.tensor([row for row, _ in members]).unsqueeze(1) + steps_T,
            slots_NS=slots_NS.where(torch.arange(width) < ends_N1, SCRATCH * size),
            last_NT=ends_N1 - num_tokens + steps_T,
        )


def _range(work: Work) -> slice:
    """Which of the sequence's ids the work is for."""
    return slice(work.sequence.num_computed, work.sequence.num_computed + work.num_tokens)
