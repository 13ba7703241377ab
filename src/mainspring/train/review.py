"""Data that a model made are looked at by a person before anything is learnt from them.

A dataset is written with `to_review` among its facts and lists all that it holds in review.md. The label `reviewed`
is moved to a version by whoever has read it; every version that ever had the label may be learnt.
"""

from collections.abc import Collection
from pathlib import Path

from mainspring import artifact as artifacts
from mainspring.artifact import Artifact
from mainspring.errors import UserError
from mainspring.registry import Registry

REVIEWED, TO_REVIEW, REVIEW = "reviewed", "to_review", "review.md"
LESSONS = "lessons.jsonl"


def is_reviewed(registry: Registry, dataset: Artifact) -> bool:
    """Whether a dataset may be learnt: somebody has accepted it, or nobody has to."""
    if not dataset.config.get(TO_REVIEW):
        return True
    moves = registry.history(dataset.kind, dataset.name)
    return any(move.label == REVIEWED and move.version == dataset.version for move in moves)


def check_reviewed(registry: Registry, dataset: Artifact) -> None:
    """Raise UserError unless a dataset may be learnt."""
    if not is_reviewed(registry, dataset):
        raise UserError(
            f"{dataset.reference} was made by a model and nobody has accepted it yet. Read "
            f"{registry.folder(dataset) / REVIEW}, then `mainspring constitution accept {dataset.name}`."
        )


def accept(registry: Registry, dataset: Artifact, without: Collection[int] = ()) -> Artifact:
    """Let a dataset be learnt, or a new version of it without some of its numbered entries.

    Raises:
        UserError: a dataset that needs no review, or numbers that it has not.

    """
    if not dataset.config.get(TO_REVIEW):
        raise UserError(f"{dataset.reference} was not made by a model: it needs no review.")
    artifacts.check(dataset, registry.folder(dataset))
    reason = f"read by a person; {len(without)} left out"
    if without:
        dataset = _without(registry, dataset, without)
    registry.label(dataset, REVIEWED, reason)
    return dataset


def _without(registry: Registry, dataset: Artifact, without: Collection[int]) -> Artifact:
    there = registry.folder(dataset)
    lines = (there / LESSONS).read_bytes().splitlines(keepends=True)
    unknown = sorted(set(without) - set(range(1, len(lines) + 1)))
    kept = [line for number, line in enumerate(lines, 1) if number not in without]
    if unknown or not kept:
        raise UserError(
            f"{dataset.reference} has the entries 1 to {len(lines)}; to leave out "
            f"{', '.join(map(str, unknown or sorted(without)))} is not possible. Give others, at most all but one."
        )

    def fill(folder: Path) -> None:
        for name in dataset.files:
            (folder / name).write_bytes((there / name).read_bytes())
        (folder / LESSONS).write_bytes(b"".join(kept))

    config = {**dataset.config, "left_out": sorted(without)}
    parents = {**dataset.parents, "reviewed": dataset.reference}
    return registry.add(
        artifacts.write(registry.root, "dataset", dataset.name, fill, config=config, parents=parents)
    )
