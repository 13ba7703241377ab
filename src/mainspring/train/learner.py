"""One update: count over all batches of all ranks first, then add up their gradients, scaled by that count.

items -> packed batches -> annotators -> model -> objective and penalties -> gradients -> optimizer
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from mainspring.errors import ConfigError, MainspringError
from mainspring.models.model import Model
from mainspring.train import joint
from mainspring.train.annotate import Annotator, LateAnnotator, annotate, check_needs
from mainspring.train.batch import Batch, Item, pack
from mainspring.train.config import TrainConfig
from mainspring.train.guard import Guard, Verdict
from mainspring.train.objectives.base import (
    Addition,
    Loss,
    Objective,
    Penalty,
    Regulator,
    WeightPenalty,
)
from mainspring.train.optim import set_lr
from mainspring.train.outputs import Outputs
from mainspring.train.parallel import Runner
from mainspring.train.ranks import Ranks

Counts = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What an update did, over all ranks: means over what each loss counts; `skipped` says why it was none."""

    loss: float
    grad_norm: float
    tokens: int
    trained_tokens: float
    metrics: dict[str, float]
    skipped: str = ""


@dataclass(slots=True, kw_only=True)
class Learner:
    """The model with everything that decides an update."""

    runner: Runner
    objective: Objective
    penalties: Sequence[Addition]
    annotators: Sequence[Annotator]
    parameters: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    config: TrainConfig
    scaler: torch.amp.GradScaler = field(init=False)
    _observed: dict[str, torch.Tensor] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.scaler = self.config.plan.scaler()
        self.runner.watches_routers = any(
            each.watches_routers for each in (*self.losses(), *self.regulators())
        )

    @property
    def model(self) -> Model:
        """The model, or this process's part of it."""
        return self.runner.model

    @property
    def ranks(self) -> Ranks:
        """This process among all."""
        return self.runner.ranks

    def batches(self, items: Sequence[Item]) -> list[Batch]:
        """Packed and annotated; all processes at once, because models may run on several."""
        couples = any(each.couples for each in self.losses())
        units = items if couples else [(segment,) for item in items for segment in item]
        sizes = [sum(segment.num_tokens + len(segment.source) for segment in unit) for unit in units]
        packed = pack(items, max([self.config.plan.micro_batch_tokens, *sizes]), couples=couples)
        with self.config.plan.autocast():
            made = [annotate(batch, self._annotators(late=False)) for batch in self.runner.level(packed)]
        late = self._annotators(late=True)
        for each in self.losses():
            for batch in made:
                check_needs(batch, each.needs, late, each.kind)
        return made

    def _annotators(self, *, late: bool) -> list[Annotator]:
        return [each for each in self.annotators if isinstance(each, LateAnnotator) == late]

    def late(self, batches: Sequence[Batch]) -> Iterator[Batch]:
        """Each batch, when it is asked for, with what late annotators add."""
        annotators = self._annotators(late=True)
        for batch in batches:
            with self.config.plan.autocast():
                made = annotate(batch, annotators)
            yield made

    def learn(self, batches: Sequence[Batch], lr: float, step: int, guard: Guard) -> Learnt:
        """Update the weights once, unless the guard says no.

        Raises:
            MainspringError: the guard stops the run; the weights are those before this step.
            ConfigError: nothing of the step is trained.

        """
        counts = self.ranks.total(batch.counts() for batch in batches)
        self.optimizer.zero_grad(set_to_none=True)
        self._observed.clear()
        self.runner.model.train()  # dropout is of learning alone
        try:
            sums = self.backward(batches, counts)
        finally:
            self.runner.model.eval()
        self.runner.join(self.parameters)
        sums |= self._backward_weights()
        self.scaler.unscale_(self.optimizer)
        loss = sums.pop("loss")
        norm = self.runner.clip(self.parameters, self.config.optim.max_grad_norm)
        verdict = self._judge(guard, step, loss, norm, batches)
        if verdict.action == "take":
            set_lr(self.optimizer, lr)
            self.scaler.step(self.optimizer)
            sums |= self._regulate()
        self.scaler.update()
        return Learnt(
            loss=loss, grad_norm=norm, tokens=int(counts["ids"]), trained_tokens=counts["tokens"], metrics=sums,
            skipped=verdict.reason,
        )  # fmt: skip

    def _judge(self, guard: Guard, step: int, loss: float, norm: float, batches: Sequence[Batch]) -> Verdict:
        """The guard's word; a gradient that fp16 cannot hold is the scaler's matter, which skips it itself."""
        if self.scaler.is_enabled() and math.isfinite(loss) and not math.isfinite(norm):
            return Verdict(
                action="take", reason="fp16 could not hold the gradient; its loss is scaled less from now on"
            )
        names = [place.name for batch in batches for place in batch.segments]
        verdict = guard.judge(step, loss, norm, names)
        if verdict.action == "stop":
            raise MainspringError(verdict.reason)
        return verdict

    def measure(self, batches: Sequence[Batch]) -> dict[str, float]:
        """The loss and its metrics without learning."""
        return joint.measure(self, batches, self.ranks.total(batch.counts() for batch in batches))

    def backward(self, batches: Sequence[Batch], counts: Counts) -> dict[str, float]:
        """Add up the gradients of all batches; the loss and its metrics over all ranks."""
        return joint.backward(self, batches, counts)

    def losses(self) -> list[Objective]:
        """The objective and the penalties that look at outputs."""
        return [self.objective, *(each for each in self.penalties if isinstance(each, Penalty))]

    def regulators(self) -> list[Regulator]:
        """What moves numbers without gradients."""
        return [each for each in self.penalties if isinstance(each, Regulator)]

    def moved(self) -> dict[str, torch.Tensor]:
        """What regulators move, by name: beside what trains, the rest of a state."""
        found = [each.moves(self.runner.model) for each in self.regulators()]
        return {name: each for some in found for name, each in some.items()}

    def mean(
        self, losses: Sequence[Objective], outputs: Outputs, counts: Counts
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """A batch's part of the mean loss of the step, and of what is reported; of padding, nothing."""
        total, sums = torch.zeros(()), {"loss": 0.0}
        for each in losses:
            with self.config.plan.autocast():
                loss = each(outputs, outputs.batch)
            mean, metrics = self.scaled(each, loss, counts)
            total, value = total + mean, sums["loss"] + metrics.pop("loss")
            sums |= {**metrics, "loss": value}
        if outputs.batch.is_padding:
            return total * 0.0, {}
        for each in self.regulators() if torch.is_grad_enabled() else ():
            seen, before = each.observe(outputs), self._observed.get(each.kind)
            self._observed[each.kind] = seen if before is None else before + seen
        return total, sums

    def scaled(self, each: Objective, loss: Loss, counts: Counts) -> tuple[torch.Tensor, dict[str, float]]:
        """A loss divided by its count of the whole step, and what is reported of it."""
        count = counts[loss.count_key]
        if not count:
            raise ConfigError(
                f"A step has no {loss.count_key} that '{each.kind}' learns from: all weights are 0. Look at the data "
                "with `mainspring data doctor`."
            )
        mean = loss.sum / count
        metrics = {name: value / count for name, value in loss.metrics.items()}
        if isinstance(each, Penalty):
            mean = mean * each.coefficient
            metrics[each.kind] = float(mean.detach())
        return mean, {"loss": float(mean.detach()), **metrics}

    @torch.no_grad()
    def _regulate(self) -> dict[str, float]:
        """Let regulators move their numbers by what all ranks saw, the same on every rank."""
        metrics: dict[str, float] = {}
        for each in self.regulators():
            seen = [
                own for own in self.ranks.gather(self._observed.get(each.kind)) if own is not None
            ]  # a rank may have had no items
            metrics |= each.regulate(self.model, torch.stack(seen).sum(0))
        return metrics

    def _backward_weights(self) -> dict[str, float]:
        """Penalties of the weights alone, the same on every rank."""
        values: dict[str, float] = {}
        for penalty in self.penalties:
            if isinstance(penalty, WeightPenalty):
                value = penalty.of_weights(self.parameters) * penalty.coefficient
                self.scaler.scale(value).backward()
                values[penalty.kind] = float(value.detach())
        return values
