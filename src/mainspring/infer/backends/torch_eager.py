"""The oracle: the model's own modules, run by torch as they stand.

Shapes: T tokens of the step (padded), D width, N rows that are scored, V vocabulary.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional

from mainspring.adapt import base as adapters
from mainspring.infer import sampling
from mainspring.infer.backends.base import scored_rows
from mainspring.infer.blocks import SCRATCH
from mainspring.infer.kernel_plan import KernelPlan
from mainspring.infer.kernels import ATTENTION_CHUNK
from mainspring.infer.paged import Group, KvCache, PagedAttend
from mainspring.infer.request import EngineConfig
from mainspring.infer.scheduler import Work
from mainspring.infer.states import rounds
from mainspring.models.model import Model


class TorchEager:
    """A backend in the exact mode: every product has a number of rows from the kernel plan's class.

    The works of one adapter are run together, one adapter after the other.
    """

    name = "torch_eager"
    is_exact = True
    summarize = staticmethod(sampling.summarize)
    chunk = ATTENTION_CHUNK
    grain = 16
    state_chunk = 1
    """Tokens of a sequence that go through a state at once: the bits change with their number."""

    def __init__(
        self, model: Model, plan: KernelPlan, config: EngineConfig, *, fingerprint: str = ""
    ) -> None:
        self._model, self._plan, self.model_config = model, plan, model.config
        self._block_size = config.block_size
        self._cache = KvCache(
            model.config, config.num_blocks, config.block_size, model.embedding.weight.dtype
        )
        self.max_step_tokens, self.fingerprint = plan.limit, fingerprint or plan.fingerprint

    @torch.inference_mode()
    def step(self, works: Sequence[Work]) -> torch.Tensor:
        """See Backend.step."""
        together: dict[str | None, list[int]] = {}
        for index, work in enumerate(works):
            together.setdefault(work.sequence.request.adapter, []).append(index)
        if len(together) == 1:
            return self._step(works, next(iter(together)))
        parts: dict[int, torch.Tensor] = {}
        for adapter, indices in together.items():
            some = [works[index] for index in indices]
            scores_NV = self._step(some, adapter)
            parts.update(zip(indices, scores_NV.split([work.num_scored for work in some]), strict=True))
        return torch.cat([parts[index] for index in range(len(works))])

    def has_adapter(self, name: str) -> bool:
        return name in adapters.adapters_of(self._model).configs

    @torch.inference_mode()
    def copy_block(self, source: int, target: int) -> None:
        self._cache.copy_block(source, target)

    def _step(self, works: Sequence[Work], adapter: str | None) -> torch.Tensor:
        ids_T = self._padded(torch.tensor([token_id for work in works for token_id in work.ids]))
        pos_T, slots_T = torch.zeros_like(ids_T), torch.full_like(ids_T, SCRATCH * self._block_size)
        groups = self._groups(works)
        for group in groups:
            pos_T[group.rows_NT] = group.last_NT
            slots_T[group.rows_NT] = group.slots_NS.gather(1, group.last_NT)
        if self.is_exact:  # else somebody else owns the model, and chooses
            adapters.activate(self._model, adapter)
        through = (
            list(rounds(works, self._block_size, self.state_chunk)) if self.model_config.has_states else []
        )
        hidden_TD = self._model(ids_T, pos_T, PagedAttend(self._cache, slots_T, groups, self._plan, through))
        return self._scores(works, hidden_TD)

    def _scores(self, works: Sequence[Work], hidden_TD: torch.Tensor) -> torch.Tensor:
        pieces = torch.tensor(scored_rows(works), dtype=torch.int64).split(self._plan.limit)
        return torch.cat(
            [self._model.logits(hidden_TD[self._padded(rows_N)])[: len(rows_N)] for rows_N in pieces]
        )

    def _padded(self, x_T: torch.Tensor) -> torch.Tensor:
        return functional.pad(x_T, (0, self._plan.pad(len(x_T)) - len(x_T)))

    def _groups(self, works: Sequence[Work]) -> list[Group]:
        """Sequences that decode go side by side; each prompt goes alone, where bits are to be its own."""
        members: dict[tuple[int, int], list[tuple[int, Work]]] = {}
        row = 0
        for work in works:
            is_alone = self.is_exact and len(work.ids) > 1
            members.setdefault((len(work.ids), row if is_alone else 0), []).append((row, work))
            row += len(work.ids)
        return [self._group(each) for each in members.values()]

    def _group(self, members: list[tuple[int, Work]]) -> Group:
        num_tokens, size = len(members[0][1].ids), self._block_size
        ends_N1 = torch.tensor([work.sequence.num_computed + num_tokens for _, work in members]).unsqueeze(1)
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
