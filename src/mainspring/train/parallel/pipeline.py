"""Every process holds some of the blocks; hidden states go forwards from one to the next, gradients back.

    process 0   embedding, blocks 0..k       F0 F1          B0 F2   B1 ...
    process 1   blocks k+1.., norm, head        F0 B0  F1 B1   F2 ...

A process runs ahead by as many batches as there are processes behind it and then one forwards, one backwards, so that
few activations wait. All of them know the batches, so the shapes of what is sent are known. The last one has the
outputs: the objective runs there.

Paper: arXiv:2104.04473, section 2.2.1 (one forward, one backward, with a flush at the end of a step).
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import distributed, nn

from mainspring.errors import ConfigError
from mainspring.models.model import Model
from mainspring.models.parts.base import Pass
from mainspring.train.batch import Batch
from mainspring.train.optim import OptimConfig, build_optimizer
from mainspring.train.outputs import Outputs
from mainspring.train.parallel.base import LossOf, Parameters, Part, Sums
from mainspring.train.parallel.cut import CutRunner, check_plain

T = TypeVar("T")
BEFORE = (
    "embedding",
    "positions",
    "token_types",
    "embedding_norm",
)  # of a model; what lies behind is the last's
TIED = "embedding.weight"


class _Absent(nn.Module):
    """A block that another process has."""

    def forward(self, x_TD: torch.Tensor, around: Pass) -> torch.Tensor:
        return x_TD


class _Received(nn.Module):
    """In the place of an embedding: what the process before has sent. `weight` is there where a tied head needs it."""

    def __init__(self, weight: nn.Parameter | None) -> None:
        super().__init__()
        self.weight = weight
        self.x_TD = torch.empty(0)

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.x_TD


class PipelineRunner(CutRunner):
    """Cuts a model of one stack between its blocks."""

    name = "pipeline"

    def cut(self) -> None:
        model, size, stage = self.model, self.ranks.model_size, self.ranks.model_rank
        _check(model, size)
        self._num_blocks, self._is_last = len(model.blocks), stage == size - 1
        self._width = model.config.width
        self._is_tied = model.head is not None and model.head.out is None
        self._dtype = model.embedding.weight.dtype
        for place in range(self._num_blocks):
            if self._owner(f"blocks.{place}") != stage:
                model.blocks[place] = _Absent()
        if stage > 0:
            is_tied = self._is_tied and self._is_last
            model.embedding = _Received(model.embedding.weight if is_tied else None)  # type: ignore[assignment]
            model.positions = model.token_types = model.embedding_norm = None
            model.dropout = 0.0
            model.spec = model.spec.model_copy(update={"embedding_scale": 1.0})
        if not self._is_last:
            model.final_norm = model.head = None

    def build_optimizer(self, config: OptimConfig) -> torch.optim.Optimizer:
        if not self.parameters:
            raise ConfigError(
                f"plan.pipeline={self.ranks.model_size} leaves process {self.ranks.model_rank} with nothing to train. "
                "Train more of the model, or take fewer processes."
            )
        fitting = [
            each for each in config.groups if any(fnmatchcase(name, each.pattern) for name in self.parameters)
        ]
        unused = [
            each for each in config.groups if not any(fnmatchcase(x, each.pattern) for x in self.shapes)
        ]
        return build_optimizer(self.parameters, config.model_copy(update={"groups": (*fitting, *unused)}))

    def whole(self, name: str) -> torch.Tensor:
        owner = self._owner(name)
        found = torch.empty(self.shapes[name], dtype=self.dtypes[name])
        if owner == self.ranks.model_rank:
            found.copy_(self.model.get_parameter(name).detach())
        distributed.broadcast(found, group_src=owner, group=self.ranks.model_group)
        return found

    def look(self, batch: Batch, of: Callable[[Outputs], T]) -> T | None:
        with torch.no_grad(), self.plan.autocast():
            sent: list[distributed.Work] = []
            outputs = self._forward(batch, sent)[1]
            found = of(outputs) if self._is_last else None
        for work in sent:
            work.wait()
        return found

    def backward(
        self, batches: Iterable[Batch], loss_of: LossOf, states: Sequence[torch.Tensor] | None = None
    ) -> list[Sums]:
        waiting: deque[tuple[torch.Tensor, torch.Tensor]] = deque()
        sent: list[distributed.Work] = []
        parts: list[Sums] = []
        ahead = self.ranks.model_size - 1 - self.ranks.model_rank
        for number, batch in enumerate(batches):
            if states is not None:
                torch.set_rng_state(states[number])
            with self.plan.autocast():
                x_TD, outputs = self._forward(batch, sent)
            out = outputs.hidden_TD
            if self._is_last:
                out, sums = loss_of(number, outputs)
                parts.append(sums)
            waiting.append((x_TD, out))
            if len(waiting) > ahead:
                self._backward(*waiting.popleft(), sent)
        while waiting:
            self._backward(*waiting.popleft(), sent)
        for work in sent:
            work.wait()
        return parts

    def join(self, parameters: Parameters) -> None:
        last = self.ranks.model_size - 1
        if self._is_tied and TIED in parameters and self.ranks.model_rank in (0, last):
            self._add_other_end(parameters[TIED], last - self.ranks.model_rank)
        super().join(parameters)

    def part(self, name: str) -> Part:
        return Part(is_kept=self._owner(name) == self.ranks.model_rank)

    def _owner(self, name: str) -> int:
        """The process that a weight belongs to; a tied embedding to the first, though the last has it too."""
        first, _, rest = name.partition(".")
        if first == "blocks":
            return int(rest.partition(".")[0]) * self.ranks.model_size // self._num_blocks
        return 0 if first in BEFORE else self.ranks.model_size - 1

    def _forward(self, batch: Batch, sent: list[distributed.Work]) -> tuple[torch.Tensor, Outputs]:
        """What came in, and what is made of it; the last one's outputs are the model's."""
        x_TD = torch.empty(0)
        if self.ranks.model_rank > 0:
            x_TD = self._receive((len(batch.ids), self._width), self.ranks.model_rank - 1)
            x_TD.requires_grad_(torch.is_grad_enabled())
            assert isinstance(self.model.embedding, _Received)
            self.model.embedding.x_TD = x_TD
        outputs = self.run(batch)
        if not self._is_last:
            self._send(outputs.hidden_TD, self.ranks.model_rank + 1, sent)
        return x_TD, outputs

    def _backward(self, x_TD: torch.Tensor, out: torch.Tensor, sent: list[distributed.Work]) -> None:
        """Gradients of a batch; `out` is the loss in the last process and hidden states elsewhere."""
        flowing = (
            None
            if self._is_last
            else self._receive(tuple(out.shape), self.ranks.model_rank + 1).to(out.dtype)
        )
        out.backward(flowing)
        if self.ranks.model_rank > 0:
            gradient = torch.zeros_like(x_TD) if x_TD.grad is None else x_TD.grad
            self._send(gradient, self.ranks.model_rank - 1, sent)

    def _add_other_end(self, weight: nn.Parameter, other: int) -> None:
        """Gradients of a tied embedding: what the lookup gave in the first process, and the head in the last."""
        own = torch.zeros_like(weight) if weight.grad is None else weight.grad
        sent: list[distributed.Work] = []
        self._send(own, other, sent)
        weight.grad = own + self._receive(tuple(weight.shape), other)
        for work in sent:
            work.wait()

    def _send(self, tensor: torch.Tensor, to: int, sent: list[distributed.Work]) -> None:
        own = tensor.detach().to(self._dtype).contiguous()
        work = distributed.isend(own, group_dst=to, group=self.ranks.model_group)
        assert work is not None
        sent.append(work)

    def _receive(self, shape: tuple[int, ...], source: int) -> torch.Tensor:
        found = torch.empty(shape, dtype=self._dtype)
        distributed.recv(found, group_src=source, group=self.ranks.model_group)
        return found


def _check(model: Model, size: int) -> None:
    if len(model.blocks) < size:
        raise ConfigError(
            f"plan.pipeline={size} cannot cut a model of {len(model.blocks)} blocks; take at most as many processes."
        )
    check_plain(model, f"plan.pipeline={size}")
