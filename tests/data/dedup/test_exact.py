"""Exact duplicates against comparing every text with every other."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.config import build
from mainspring.data.dedup.exact import Exact, Settings, normalized
from mainspring.errors import ConfigError

LETTERS = st.text("aAàÀ a\u0300\u0345ßsﬁfi\u1e9e \n\t\xa0İ", max_size=6)
TEXTS = st.lists(LETTERS, max_size=14)


def clusters(texts: list[str], folder: Path, block: int = 4, **values: object) -> list[list[int]]:
    exact = Exact(build(Settings, values))
    signed = ((start, exact.sign(texts[start : start + block])) for start in range(0, len(texts), block))
    return list(exact.clusters(signed, folder))


def plain(text: str) -> str:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())
    return " ".join(folded.split())


def plain_clusters(forms: list[str]) -> list[list[int]]:
    found = [[n for n, each in enumerate(forms) if each == form] for form in dict.fromkeys(forms)]
    return [members for members in found if len(members) > 1]


@settings(deadline=None, max_examples=50)
@given(TEXTS, st.integers(1, 5), st.sampled_from([1e-5, 256]))
def test_clusters_are_those_of_comparing_all_with_all(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], block: int, memory_mb: float
):
    found = clusters(texts, tmp_path_factory.mktemp("exact"), block, memory_mb=memory_mb)
    assert found == plain_clusters([plain(text) for text in texts])


@settings(deadline=None, max_examples=50)
@given(TEXTS)
def test_without_any_normalization_only_equal_texts_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
):
    plainly = {"unicode": "none", "fold_case": False, "collapse_space": False}
    found = clusters(texts, tmp_path_factory.mktemp("exact"), **plainly)
    assert found == plain_clusters(texts)


@given(LETTERS)
def test_a_normalized_text_stays_as_it_is(text: str):
    once = normalized(text, Settings()).decode()
    assert normalized(once, Settings()).decode() == once


def test_each_setting_makes_its_own_difference(tmp_path: Path):
    texts = ["Fine café", "fine café", "ﬁne café", "fine  cafe\u0301 "]
    assert clusters(texts, tmp_path) == [[0, 1, 2, 3]]  # folding takes the ligature apart, too
    assert clusters(texts, tmp_path, fold_case=False, collapse_space=False) == []
    assert clusters(texts, tmp_path, fold_case=False) == [[1, 3]]
    assert clusters(texts, tmp_path, unicode="NFKC", fold_case=False) == [[1, 2, 3]]


def test_signatures_have_128_bits_and_half_characters_can_be_signed():
    found = Exact(Settings()).sign(["one", "two", "\ud800"])
    assert found.shape == (3, 2)
    assert found.dtype == np.uint64
    assert len(set(map(tuple, found.tolist()))) == 3


def test_an_unknown_setting_is_named():
    with pytest.raises(ConfigError, match="did you mean `fold_case`"):
        build(Settings, {"foldcase": True})
