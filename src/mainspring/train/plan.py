"""Where and how a run computes; it changes speed and memory, and beyond rounding nothing else."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch.utils.checkpoint import checkpoint

from mainspring.config import Config
from mainspring.device import kept_memory, num_cores
from mainspring.models.model import Model
from mainspring.models.parts.stack import Stack

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Plan(Config):
    """How a run computes."""

    dtype: Literal["fp32", "bf16", "fp16", "fp64"] = Field(
        default="fp32",
        description="of matrix products; bf16 and fp16 are autocast (weights and gradients stay fp32, and fp16's loss "
        "is scaled); fp64 is all in double precision, for proofs",
    )
    micro_batch_tokens: int = Field(
        default=2048,
        ge=1,
        description="most tokens run at once; a step of more is accumulated, a longer item runs alone",
    )
    checkpointing: bool = Field(
        default=False, description="forget each block's activations and compute them again for its gradient"
    )
    compile: bool = Field(
        default=False,
        description="let torch's compiler make the norms and feed-forward parts: the first step takes longer; "
        "measure whether those behind it take less; needs a C++ compiler",
    )
    threads: int = Field(default=0, ge=0, description="processor threads; 0 takes every core")
    parallel: Literal["ddp", "fsdp"] = Field(
        default="ddp",
        description="what processes have that share the items of a step: ddp all of the model, fsdp a part of every "
        "weight, put together while a block runs",
    )
    tensor: int = Field(
        default=1, ge=1, description="processes that share every matrix of attention and feed-forward parts"
    )
    pipeline: int = Field(
        default=1, ge=1, description="processes that each hold some of the blocks, in order"
    )

    @property
    def num_threads(self) -> int:
        return self.threads or num_cores()

    def autocast(self) -> AbstractContextManager[None]:
        """Around the forward of every batch."""
        half = HALF.get(self.dtype)
        return nullcontext() if half is None else torch.autocast("cpu", half)  # type: ignore[return-value]

    def scaler(self) -> torch.amp.GradScaler:
        """Keeps the small gradients of fp16 from vanishing; with another dtype it does nothing."""
        return torch.amp.GradScaler("cpu", enabled=self.dtype == "fp16")

    @contextmanager
    def applied(self, model: Model) -> Iterator[None]:
        """Take the threads, the precision and the checkpoints for the length of a run."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.num_threads)
        if self.dtype == "fp64":
            model.double()
        blocks = [block for stack in _stacks(model) for block in stack.blocks] if self.checkpointing else []
        for block in blocks:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        try:
            with kept_memory(), self._compiling(model):
                yield
        finally:
            torch.set_num_threads(before)
            for block in blocks:
                del block.forward

    def _compiling(self, model: Model) -> AbstractContextManager[None]:
        if not self.compile:
            return nullcontext()
        from mainspring.train.compiled import compiled

        return compiled(model)

    def describe(self) -> str:
        again = ", activations computed twice" if self.checkpointing else ""
        made = ", compiled" if self.compile else ""
        tokens = f"{self.micro_batch_tokens:,} tokens at once"
        return f"cpu, {self.dtype}, {self.num_threads} threads, {tokens}{again}{made}"


def _stacks(model: Model) -> list[Stack]:
    return [module for module in model.modules() if isinstance(module, Stack)]
