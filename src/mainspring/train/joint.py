"""A step's batches forwards and backwards, with losses that compare what lies in different batches or ranks, exactly.

    1. features of every batch, without gradients        (all ranks' gathered)
    2. the loss of all features together, and its gradient with respect to them
    3. every batch once more, with that gradient as what flows into its features

Both runs of a batch draw the same random numbers. Losses that add up need the third pass alone. Paper:
arXiv:2101.06983.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from mainspring.train.batch import Batch
from mainspring.train.objectives.base import JointObjective, Objective
from mainspring.train.outputs import Outputs

if TYPE_CHECKING:
    from mainspring.train.learner import Learner

Features = list[torch.Tensor]
"""Of one batch, one of each joint objective."""


def backward(learner: "Learner", batches: Sequence[Batch], counts: Mapping[str, float]) -> dict[str, float]:
    """Add up the gradients of all batches; the loss and its metrics over all ranks."""
    joint, plain = _kinds(learner)
    states: list[torch.Tensor] = []
    features: list[Features | None] = []
    for batch in learner.late(batches) if joint else ():
        states.append(torch.get_rng_state())
        features.append(learner.runner.look(batch, lambda outputs: _features(joint, outputs)))
    sums, gradients = _differentiate(learner, joint, features, batches, counts)

    def loss_of(number: int, outputs: Outputs) -> tuple[torch.Tensor, dict[str, float]]:
        total, more = learner.mean(plain, outputs, counts)
        for each, gradient in zip(joint, gradients[number], strict=True):
            total = total + (each.features(outputs, outputs.batch) * gradient).sum()
        return learner.scaler.scale(total), more

    return learner.ranks.total(
        [sums, *learner.runner.backward(learner.late(batches), loss_of, states or None)]
    )


def measure(learner: "Learner", batches: Sequence[Batch], counts: Mapping[str, float]) -> dict[str, float]:
    """The loss and its metrics over all ranks, without gradients."""
    joint, plain = _kinds(learner)
    parts: list[dict[str, float]] = []

    def look(outputs: Outputs) -> Features:
        parts.append(learner.mean(plain, outputs, counts)[1])
        return _features(joint, outputs)

    features = [learner.runner.look(batch, look) for batch in learner.late(batches)]
    parts.append(_differentiate(learner, joint, features, batches, counts)[0])
    return learner.ranks.total(parts)


def _kinds(learner: "Learner") -> tuple[list[JointObjective], list[Objective]]:
    joint = [each for each in learner.losses() if isinstance(each, JointObjective)]
    return joint, [each for each in learner.losses() if not isinstance(each, JointObjective)]


def _features(joint: Sequence[JointObjective], outputs: Outputs) -> Features:
    return [each.features(outputs, outputs.batch) for each in joint]


def _differentiate(
    learner: "Learner",
    joint: Sequence[JointObjective],
    features: Sequence[Features | None],
    batches: Sequence[Batch],
    counts: Mapping[str, float],
) -> tuple[dict[str, float], list[Features]]:
    """The joint losses over all ranks, told by the first one alone, and the gradients of this rank's features.

    Padding takes no part, so its gradients are zero; where another process has the features, there are none.
    """
    if not joint:
        return {}, [[] for _ in batches]
    here = [
        (own, batch) for own, batch in zip(features, batches, strict=True) if own and not batch.is_padding
    ]
    gathered = learner.ranks.gather(here)
    first = sum(len(each) for each in gathered[: learner.ranks.rank])
    every = [each for theirs in gathered for each in theirs]
    sums: dict[str, float] = {"loss": 0.0}
    found: list[list[torch.Tensor | None]] = [[] for _ in every]
    for place, each in enumerate(joint if every else ()):
        leaves = [own[place].detach().requires_grad_() for own, _ in every]
        with torch.enable_grad():
            mean, metrics = learner.scaled(each, each.joint(leaves, [batch for _, batch in every]), counts)
        for row, gradient in zip(found, torch.autograd.grad(mean, leaves, allow_unused=True), strict=True):
            row.append(gradient)
        value = sums["loss"] + metrics.pop("loss")
        sums |= {**metrics, "loss": value}
    rows = iter(found[first:])
    gradients: list[Features] = []
    for own, batch in zip(features, batches, strict=True):
        row = [None] * len(joint) if own is None or batch.is_padding else next(rows)
        gradients.append([_or_zeros(x, own, at) for at, x in enumerate(row)])
    return (sums if learner.ranks.rank == 0 else {}), gradients


def _or_zeros(gradient: torch.Tensor | None, own: Features | None, at: int) -> torch.Tensor:
    return gradient if gradient is not None else torch.zeros_like(own[at]) if own else torch.zeros(())
