"""Where and how a run computes; it changes speed and memory, and beyond rounding nothing else."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch
from pydantic import Field

from mainspring.config import Config
from mainspring.device import num_cores


class Plan(Config):
    """How a run computes."""

    dtype: Literal["fp32", "bf16"] = Field(
        default="fp32", description="of matrix products; bf16 is autocast: weights and gradients stay fp32"
    )
    micro_batch_tokens: int = Field(
        default=2048,
        ge=1,
        description="most tokens run at once; a step of more is accumulated, a longer segment runs alone",
    )
    threads: int = Field(default=0, ge=0, description="processor threads; 0 takes every core")

    @property
    def num_threads(self) -> int:
        return self.threads or num_cores()

    def autocast(self) -> AbstractContextManager[None]:
        """Around the forward of every batch."""
        return nullcontext() if self.dtype == "fp32" else torch.autocast("cpu", torch.bfloat16)  # type: ignore[return-value]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Take the threads for the length of a run."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def describe(self) -> str:
        return f"cpu, {self.dtype}, {self.num_threads} threads, {self.micro_batch_tokens:,} tokens at once"
