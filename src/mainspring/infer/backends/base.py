"""What a backend does: run one step of the scheduler."""

import itertools
from collections.abc import Sequence
from typing import Protocol

import torch

from mainspring.infer.sampling import Summary
from mainspring.infer.scheduler import Work
from mainspring.models.config import ModelConfig


class Backend(Protocol):
    """Holds the weights and the cache. Called from the engine's thread alone.

    `is_exact`: a sequence's scores depend on its own ids alone. `fingerprint` names weights and kernels: equal ones
    give equal bits. `grain`: pieces of a prompt that have fewer tokens take no less time.
    """

    name: str
    is_exact: bool
    fingerprint: str
    model_config: ModelConfig
    max_step_tokens: int
    grain: int

    def step(self, works: Sequence[Work]) -> torch.Tensor:
        """Compute keys and values of all the works' ids.

        Returns:
            scores_NV: float32, for the last `num_scored` ids of every work, in order; good until the next step.

        """
        ...

    def summarize(self, scores_NV: torch.Tensor, places: Sequence[int]) -> list[Summary]:
        """Sum up rows of scores that `step` has returned, each by itself."""
        ...

    def has_adapter(self, name: str) -> bool:
        """Whether requests may name this adapter."""
        ...

    def copy_block(self, source: int, target: int) -> None:
        """Copy the keys and values of a block (copy on write)."""
        ...


def scored_rows(works: Sequence[Work]) -> list[int]:
    """Which of all the works' ids, in order, are scored."""
    ends = itertools.accumulate(len(work.ids) for work in works)
    return [row for work, end in zip(works, ends, strict=True) for row in range(end - work.num_scored, end)]
