"""How much of a text is repeated n-grams of words, exactly and for all n together.

    words -> numbers -> pairs -> the places where a pair is repeated -> triples of these -> ...

An n-gram can only be repeated where both (n-1)-grams in it are, so each step looks at what the one before left.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """The repeated n-grams of one n: where they start, ascending, and which of them are the same.

    starts: numbers of words, shape (R,), int64. groups: the same number for the same n-gram, shape (R,).
    """

    n: int
    starts: np.ndarray
    groups: np.ndarray


def repeats(words: Sequence[str], most: int) -> Iterator[Repeats]:
    """The repeated n-grams for n = 1 ... `most`, one n after the other."""
    table: dict[str, int] = {}
    numbers = np.fromiter((table.setdefault(word, len(table)) for word in words), np.int64, len(words))
    found = _repeated(1, np.arange(len(words)), numbers)
    yield found
    for n in range(2, most + 1):
        follows = np.flatnonzero(found.starts[1:] == found.starts[:-1] + 1)
        key = found.groups[follows] * (len(words) + 1) + found.groups[follows + 1]
        found = _repeated(n, found.starts[follows], key)
        yield found


def top_characters(found: Repeats, lengths: np.ndarray) -> int:
    """Characters in all occurrences of the most frequent n-gram, blanks within it included.

    The first of equally frequent ones counts; where none is repeated, that is the n-gram the text begins with.
    """
    if len(lengths) < found.n:
        return 0
    first, count = 0, 1
    if len(found.starts):
        _, begins, counts = np.unique(found.groups, return_index=True, return_counts=True)
        count = int(counts.max())
        first = int(found.starts[begins[counts == count].min()])
    return (int(lengths[first : first + found.n].sum()) + found.n - 1) * count


def duplicate_characters(found: Repeats, lengths: np.ndarray) -> int:
    """Characters of words that lie in an n-gram which stood before; each counts once, blanks do not."""
    if not len(found.starts):
        return 0
    _, begins = np.unique(found.groups, return_index=True)
    later = np.ones(len(found.starts), bool)
    later[begins] = False
    steps = np.zeros(len(lengths) + 1, np.int64)
    np.add.at(steps, found.starts[later], 1)
    np.add.at(steps, found.starts[later] + found.n, -1)
    return int(lengths[np.cumsum(steps[:-1]) > 0].sum())


def _repeated(n: int, starts: np.ndarray, key: np.ndarray) -> Repeats:
    """Only the places whose key occurs twice or more."""
    _, groups, counts = np.unique(key, return_inverse=True, return_counts=True)
    stays = counts[groups] > 1
    return Repeats(n=n, starts=starts[stays], groups=groups[stays])
