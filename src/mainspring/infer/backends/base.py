"""What a backend does: run one step of the scheduler."""

from collections.abc import Sequence
from typing import Protocol

import torch

from mainspring.infer.scheduler import Work


class Backend(Protocol):
    """Holds the weights and the cache. Called from the engine's thread alone.

    `is_exact`: a sequence's scores depend on its own ids alone, and what is made of them must as well.
    """

    name: str
    is_exact: bool
    context: int
    max_step_tokens: int

    def step(self, works: Sequence[Work], adapter: str | None) -> list[torch.Tensor | None]:
        """Compute keys and values of all the work's tokens.

        Returns:
            For every work that is complete, the scores of its next id, (V,), float32; None for the others.

        """
        ...
