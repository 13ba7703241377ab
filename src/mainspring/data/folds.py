"""Folds of equal size for cross-validation, in which no group is torn and labels are spread evenly.

Groups are dealt out largest first, each to the fold where it raises the sum of squared counts least: of its
labels, each weighed by how rare it is, then of all documents. So documents that are groups of their own give
folds whose sizes, and whose counts of every label, differ by at most one; larger groups without labels give
folds that differ by no more than the largest group has documents.

Graham, "Bounds on multiprocessing timing anomalies", 1969, deals loads to machines like that; a count for every
label beside the load is what scikit-learn's StratifiedGroupKFold adds.
"""

from collections import Counter
from collections.abc import Mapping

from mainspring.data.document import stable_hash


def deal(groups: Mapping[str, Mapping[str, int]], num_folds: int, seed: int = 0) -> dict[str, int]:
    """Which fold each group goes to.

    Args:
        groups: of each group, how many documents bear which label.
        num_folds: how many folds, 2 or more.
        seed: another one deals groups of the same size otherwise.

    """
    totals = Counter[str]()
    for counts in groups.values():
        totals.update(counts)
    order = sorted(groups, key=lambda name: (_rank(groups[name]), stable_hash(f"{seed}\0{name}"), name))
    folds = [Counter[str]() for _ in range(num_folds)]
    sizes = [0] * num_folds
    found: dict[str, int] = {}
    for name in order:
        counts = groups[name]
        costs = [
            sum(count * (2 * fold[label] + count) / totals[label] for label, count in sorted(counts.items()))
            for fold in folds
        ]
        fold = min(range(num_folds), key=lambda number: (costs[number], sizes[number], number))
        folds[fold].update(counts)
        sizes[fold] += sum(counts.values())
        found[name] = fold
    return found


def _rank(counts: Mapping[str, int]) -> tuple[int, list[tuple[str, int]]]:
    """Large groups first; those of the same labels one behind the other."""
    return -sum(counts.values()), sorted(counts.items())
