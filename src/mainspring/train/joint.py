"""Gradients of losses that compare what lies in different batches or ranks, exactly.

    1. features of every batch, without gradients        (all ranks' gathered)
    2. the loss of all features together, and its gradient with respect to them
    3. every batch once more, with that gradient as what flows into its features

Both runs of a batch draw the same random numbers. Paper: arXiv:2101.06983.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from mainspring.train.batch import Batch
from mainspring.train.objectives.base import JointObjective

if TYPE_CHECKING:
    from mainspring.train.learner import Learner


def backward_jointly(
    learner: "Learner", batches: Sequence[Batch], counts: Mapping[str, float]
) -> dict[str, float]:
    """Add up the gradients of all batches; the loss and its metrics over all ranks."""
    joint = [each for each in learner.losses() if isinstance(each, JointObjective)]
    plain = [each for each in learner.losses() if not isinstance(each, JointObjective)]
    states, features = [], []
    for batch in batches:
        states.append(torch.get_rng_state())
        with torch.no_grad():
            outputs = learner.outputs(batch)
            features.append([each.features(outputs, outputs.batch) for each in joint])
    sums, gradients = _differentiate(learner, joint, features, batches, counts)
    parts = [sums]
    for batch, state, flowing in zip(batches, states, gradients, strict=True):
        torch.set_rng_state(state)
        outputs = learner.outputs(batch)
        total, more = learner.mean(plain, outputs, counts)
        for each, gradient in zip(joint, flowing, strict=True):
            total = total + (each.features(outputs, outputs.batch) * gradient).sum()
        learner.scaler.scale(total).backward()
        parts.append(more)
    return learner.ranks.total(parts)


def measure_jointly(
    learner: "Learner", batches: Sequence[Batch], counts: Mapping[str, float]
) -> dict[str, float]:
    """The loss and its metrics over all ranks, without gradients."""
    joint = [each for each in learner.losses() if isinstance(each, JointObjective)]
    plain = [each for each in learner.losses() if not isinstance(each, JointObjective)]
    parts, features = [], []
    for batch in batches:
        outputs = learner.outputs(batch)
        features.append([each.features(outputs, outputs.batch) for each in joint])
        parts.append(learner.mean(plain, outputs, counts)[1])
    with torch.enable_grad():
        parts.append(_differentiate(learner, joint, features, batches, counts)[0])
    return learner.ranks.total(parts)


def _differentiate(
    learner: "Learner",
    joint: Sequence[JointObjective],
    features: Sequence[Sequence[torch.Tensor]],
    batches: Sequence[Batch],
    counts: Mapping[str, float],
) -> tuple[dict[str, float], list[list[torch.Tensor]]]:
    """The joint losses over all ranks, told by the first one alone, and the gradients of this rank's features."""
    gathered = learner.ranks.gather((list(features), list(batches)))
    first = sum(len(each) for each, _ in gathered[: learner.ranks.rank])
    every_batch = [batch for _, theirs in gathered for batch in theirs]
    sums: dict[str, float] = {"loss": 0.0}
    gradients: list[list[torch.Tensor]] = [[] for _ in batches]
    for place, each in enumerate(joint):
        leaves = [row[place].detach().requires_grad_() for theirs, _ in gathered for row in theirs]
        mean, metrics = learner.scaled(each, each.joint(leaves, every_batch), counts)
        found = torch.autograd.grad(mean, leaves, allow_unused=True)
        for mine, leaf, gradient in zip(gradients, leaves[first:], found[first:], strict=False):
            mine.append(torch.zeros_like(leaf) if gradient is None else gradient)
        value = sums["loss"] + metrics.pop("loss")
        sums |= {**metrics, "loss": value}
    return (sums if learner.ranks.rank == 0 else {"loss": 0.0}), gradients
