"""The oracle: the model's own modules, run by torch as they stand.

Shapes: T tokens of the step (padded), D width, N rows whose next id is chosen, V vocabulary.
"""

from collections.abc import Sequence

import torch

from mainspring.adapt import lora
from mainspring.infer.blocks import SCRATCH
from mainspring.infer.kernels import ATTENTION_CHUNK, KernelPlan
from mainspring.infer.paged import Group, KvCache, PagedAttend
from mainspring.infer.request import EngineConfig
from mainspring.infer.scheduler import Work
from mainspring.models.model import Model


class TorchEager:
    """A backend in the exact mode: every product has a number of rows from the kernel plan's class."""

    name = "torch_eager"

    def __init__(self, model: Model, plan: KernelPlan, config: EngineConfig) -> None:
        self._model, self._plan = model.eval(), plan
        self._block_size = config.block_size
        self._cache = KvCache(model.config, config.num_blocks * config.block_size)
        self.context, self.max_step_tokens = model.config.context, plan.limit

    @torch.inference_mode()
    def step(self, works: Sequence[Work], adapter: str | None) -> list[torch.Tensor | None]:
        num_tokens = sum(work.num_tokens for work in works)
        padded = self._plan.pad(num_tokens)
        ids_T, pos_T = torch.zeros(padded, dtype=torch.int64), torch.zeros(padded, dtype=torch.int64)
        slots_T = torch.full((padded,), SCRATCH * self._block_size)
        last_rows: list[int] = []
        row = 0
        for work in works:
            begin, end = work.sequence.num_computed, work.sequence.num_computed + work.num_tokens
            rows = slice(row, row + work.num_tokens)
            ids_T[rows] = torch.tensor(work.sequence.ids[begin:end])
            pos_T[rows] = torch.arange(begin, end)
            slots_T[rows] = self._slots(work)[begin:end]
            row += work.num_tokens
            last_rows.append(row - 1)
        lora.activate(self._model, adapter)
        attend = PagedAttend(self._cache, slots_T, self._groups(works), self._plan)
        hidden_TD = self._model(ids_T, pos_T, attend)
        return self._scores(works, hidden_TD, last_rows)

    def _scores(
        self, works: Sequence[Work], hidden_TD: torch.Tensor, last_rows: list[int]
    ) -> list[torch.Tensor | None]:
        chosen = [row for work, row in zip(works, last_rows, strict=True) if work.is_complete]
        if not chosen:
            return [None] * len(works)
        padded = chosen + [chosen[0]] * (self._plan.pad(len(chosen)) - len(chosen))
        rows = iter(self._model.logits(hidden_TD[padded]))
        return [next(rows) if work.is_complete else None for work in works]

    def _slots(self, work: Work) -> torch.Tensor:
        """Where each token of the sequence lies, up to the end of this step."""
        end = work.sequence.num_computed + work.num_tokens
        blocks = torch.tensor(work.sequence.blocks) * self._block_size
        return (blocks.unsqueeze(1) + torch.arange(self._block_size)).view(-1)[:end]

    def _groups(self, works: Sequence[Work]) -> list[Group]:
        """Sequences that decode go side by side; each prompt goes alone."""
        groups: list[Group] = []
        decoding: list[tuple[int, Work]] = []
        row = 0
        for work in works:
            if work.num_tokens == 1:
                decoding.append((row, work))
            else:
                groups.append(self._group([(row, work)]))
            row += work.num_tokens
        return [*groups, self._group(decoding)] if decoding else groups

    def _group(self, members: list[tuple[int, Work]]) -> Group:
        num_tokens = members[0][1].num_tokens
        ends = [work.sequence.num_computed + num_tokens for _, work in members]
        width = -(-max(ends) // ATTENTION_CHUNK) * ATTENTION_CHUNK
        slots_NS = torch.full((len(members), width), SCRATCH * self._block_size)
        for index, (_, work) in enumerate(members):
            slots_NS[index, : ends[index]] = self._slots(work)
        steps_T = torch.arange(num_tokens)
        return Group(
            rows_NT=torch.tensor([row for row, _ in members]).unsqueeze(1) + steps_T,
            slots_NS=slots_NS,
            last_NT=torch.tensor(ends).unsqueeze(1) - num_tokens + steps_T,
        )
