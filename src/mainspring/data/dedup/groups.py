"""Rows with equal keys, found among more of them than fit into memory.

A row is some key columns and a last one, the number of what the row stands for; all uint64. Rows lie in a
file in ascending order of their numbers:

    file --fits--> group in memory -> pairs (number of the first row with this key, number of a later one)
      |
      too large -> chunks, each grouped in memory; the first row of each key goes into one of several smaller
                   files by a hash of the key, and each of these is handled like the file itself

A key that stands in every row shrinks to one row a chunk, so it cannot fill the memory either.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

BYTES = 8
COPIES = 4
"""What grouping takes at its most, in times of the rows' own size."""
MAX_PARTS = 64
SPREAD = np.uint64(0x9E3779B97F4A7C15)

Pairs = tuple[np.ndarray, np.ndarray]


def equal_pairs(path: Path, columns: int, memory_bytes: int, level: int = 1) -> Iterator[Pairs]:
    """(first, later): numbers of rows with equal keys, uint64; `first` is the least number of its key or
    is itself a `later` of it.

    Args:
        path: the rows, `columns` numbers of 64 bits each, the last of them the row's own number.
        columns: of a row.
        memory_bytes: about what this may take; never less than two rows are held.
        level: how often the rows have been spread over files already.

    """
    chunk = max(2, memory_bytes // (columns * BYTES * COPIES))
    num_rows = path.stat().st_size // (columns * BYTES)
    if num_rows <= chunk:
        yield _group(np.fromfile(path, np.uint64).reshape(-1, columns))[1]
        return
    parts = [path.with_name(f"{path.name}.{part}") for part in range(min(MAX_PARTS, 2 * num_rows // chunk))]
    yield from _spread(path, columns, chunk, parts, level)
    for part in parts:
        yield from equal_pairs(part, columns, memory_bytes, level + 1)
        part.unlink()


def _spread(path: Path, columns: int, chunk: int, parts: list[Path], level: int) -> Iterator[Pairs]:
    """Group chunk by chunk, and leave the first row of each key in the part that its key belongs to."""
    files = [part.open("wb") for part in parts]
    try:
        with path.open("rb") as stream:
            while len(rows := np.fromfile(stream, np.uint64, chunk * columns)):
                firsts, pairs = _group(rows.reshape(-1, columns))
                yield pairs
                belongs = _mixed(firsts[:, :-1], level) % np.uint64(len(parts))
                for number, file in enumerate(files):
                    firsts[belongs == number].tofile(file)
    finally:
        for file in files:
            file.close()


def _group(rows: np.ndarray) -> tuple[np.ndarray, Pairs]:
    """The first row of each key, in order, and the pairs of numbers of equal rows."""
    suspects = _with_repeated(rows[:, 0])
    keys, numbers = rows[suspects, :-1], rows[suspects, -1]
    order = np.lexsort(keys.T[::-1])  # stable: the first of a key stays its first
    keys, numbers = keys[order], numbers[order]
    is_equal = (keys[1:] == keys[:-1]).all(axis=1)
    begins = np.flatnonzero(np.concatenate([[True], ~is_equal])) if len(order) else order
    sizes = np.diff(np.append(begins, len(order)))
    is_later = np.concatenate([np.zeros(min(1, len(order)), bool), is_equal])
    first = np.repeat(numbers[begins], sizes)[is_later]
    is_kept = np.ones(len(rows), bool)
    is_kept[suspects[order[is_later]]] = False
    return rows[is_kept], (first, numbers[is_later])


def _with_repeated(values: np.ndarray) -> np.ndarray:
    """Places, ascending, of the values that stand there more than once: most rows are done with here."""
    order = np.argsort(values)
    in_order = values[order]
    is_equal = in_order[1:] == in_order[:-1]
    is_repeated = np.zeros(len(values), bool)
    is_repeated[order[1:][is_equal]] = True
    is_repeated[order[:-1][is_equal]] = True
    return np.flatnonzero(is_repeated)


def _mixed(keys: np.ndarray, level: int) -> np.ndarray:
    """A hash of each key, another one at each level."""
    mixed = np.full(len(keys), level, np.uint64)
    for column in keys.T:
        mixed = (mixed ^ column) * SPREAD
        mixed ^= mixed >> np.uint64(29)
    return mixed
