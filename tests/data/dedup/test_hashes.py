"""XXH64 in numpy against the package xxhash."""

import sys

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.dedup import hashes
from mainspring.data.dedup.hashes import xxh32_slices, xxh64_slices
from mainspring.data.dedup.near import Near, Settings
from mainspring.errors import MissingExtraError


def expected(buffer: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> list[int]:
    whole = buffer.tobytes()
    return [xxhash.xxh64_intdigest(whole[start:end]) for start, end in zip(starts, ends, strict=True)]


@pytest.mark.parametrize("length", [*range(71), 95, 96, 128, 255])
def test_slices_of_any_length_hash_as_the_package_does(length: int):
    random = np.random.default_rng(length)
    buffer = random.integers(0, 256, 2_000, dtype=np.uint8)
    starts = random.integers(0, len(buffer) - length + 1, hashes.MIN_TOGETHER)
    starts[0], starts[1] = 0, len(buffer) - length
    found = xxh64_slices(buffer, starts, starts + length)
    assert found.tolist() == expected(buffer, starts, starts + length)


@settings(deadline=None)
@given(st.binary(max_size=200), st.data())
def test_the_numpy_way_and_the_package_agree_on_any_slices(content: bytes, data: st.DataObject):
    places = st.lists(st.tuples(st.integers(0, len(content)), st.integers(0, len(content))), max_size=20)
    slices = np.array([sorted(pair) for pair in data.draw(places)], np.int64).reshape(-1, 2)
    buffer = np.frombuffer(content, np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashes, "MIN_TOGETHER", data.draw(st.sampled_from([1, 3, 200])))
        found = xxh64_slices(buffer, slices[:, 0], slices[:, 1])
    assert found.tolist() == expected(buffer, slices[:, 0], slices[:, 1])


def test_the_short_hash_is_the_package_s():
    buffer = np.frombuffer(b"a few words here", np.uint8)
    found = xxh32_slices(buffer, np.array([0, 2]), np.array([5, 11]))
    assert found.tolist() == [xxhash.xxh32_intdigest(b"a few"), xxhash.xxh32_intdigest(b"few words")]


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "xxhash", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mainspring\[data\]'"):
        Near(Settings()).sign(["six words are enough for this"])
