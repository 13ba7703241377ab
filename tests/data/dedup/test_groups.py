"""Equal rows found with little memory against a dictionary."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.dedup import groups
from mainspring.data.dedup.groups import equal_pairs

ROW_BYTES = 3 * 8


def write(folder: Path, keys: list[tuple[int, int]]) -> Path:
    rows = np.array([(*key, number) for number, key in enumerate(keys)], np.uint64).reshape(-1, 3)
    path = folder / "rows"
    rows.tofile(path)
    return path


def components(pairs: list[tuple[int, int]], count: int) -> list[set[int]]:
    """Clusters of two and more by following every pair."""
    of = {number: {number} for number in range(count)}
    for one, other in pairs:
        if of[one] is not of[other]:
            of[one] |= of[other]
            for number in of[other]:
                of[number] = of[one]
    return sorted({id(each): each for each in of.values() if len(each) > 1}.values(), key=min)


def found_pairs(path: Path, memory_bytes: int) -> list[tuple[int, int]]:
    blocks = list(equal_pairs(path, 3, memory_bytes))
    return [pair for block in blocks for pair in zip(*(side.tolist() for side in block), strict=True)]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2**64 - 1])), max_size=60),
    st.sampled_from([1, 5, 10**6]),
)
def test_equal_rows_are_found_whatever_the_memory(
    tmp_path_factory: pytest.TempPathFactory, keys: list[tuple[int, int]], rows_in_memory: int
):
    path = write(tmp_path_factory.mktemp("rows"), keys)
    pairs = found_pairs(path, rows_in_memory * ROW_BYTES * groups.COPIES)
    expected = {key: {n for n, each in enumerate(keys) if each == key} for key in keys}
    found = components(pairs, len(keys))
    assert found == sorted((each for each in expected.values() if len(each) > 1), key=min)
    later = [other for _, other in pairs]
    assert len(later) == len(set(later)) == sum(len(each) - 1 for each in expected.values())
    assert not set(later) & {min(each) for each in expected.values()}
    assert [each.name for each in path.parent.iterdir()] == ["rows"]


def test_a_key_that_fills_everything_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write(tmp_path, [(7, 7)] * 5_000)
    sizes: list[int] = []
    group = groups._group
    monkeypatch.setattr(groups, "_group", lambda rows: sizes.append(len(rows)) or group(rows))
    pairs = found_pairs(path, 50 * ROW_BYTES * groups.COPIES)
    assert sorted(other for _, other in pairs) == list(range(1, 5_000))
    assert max(sizes) <= 50
