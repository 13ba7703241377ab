"""Near-duplicates: recall of planted ones, clusters by brute force, and little memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.config import build
from mainspring.data.dedup.minhash import NOTHING
from mainspring.data.dedup.near import Near, Settings
from mainspring.errors import ConfigError

WORDS = [
    one + other for one in "abcdefghijklmnopqrst" for other in "abcdefghijklmnopqrst"
]  # numbers would all be one


def clusters(near: Near, texts: Sequence[str], folder: Path, block: int = 50) -> list[list[int]]:
    signed = ((start, near.sign(texts[start : start + block])) for start in range(0, len(texts), block))
    return list(near.clusters(signed, folder))


def make_text(random: np.random.Generator, length: int = 150) -> list[str]:
    return [WORDS[each] for each in random.integers(0, len(WORDS), length)]


def with_copies(num_originals: int, changed: float) -> list[str]:
    """Originals and, behind them, one copy of each with a part of its words replaced."""
    random = np.random.default_rng(5)
    originals = [make_text(random) for _ in range(num_originals)]
    copies = [
        [WORDS[random.integers(len(WORDS))] if chance < changed else word for word, chance in pairs]
        for pairs in (zip(text, random.random(len(text)), strict=True) for text in originals)
    ]
    return [" ".join(text) for text in [*originals, *copies]]


def similarity(one: str, other: str, ngram: int) -> float:
    sets = [
        {tuple(words[place : place + ngram]) for place in range(len(words) - ngram + 1)}
        for words in (one.split(), other.split())
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


@pytest.mark.parametrize("changed", [0.01, 0.03, 0.06])
def test_planted_copies_are_found_as_often_as_the_formula_says(tmp_path: Path, changed: float):
    texts, count = with_copies(200, changed), 200
    found = clusters(Near(Settings()), texts, tmp_path)
    pairs = {(members[0], members[1]) for members in found if len(members) == 2}
    assert len(pairs) == len(found)
    assert all(other == one + count for one, other in pairs)
    shared = [similarity(texts[number], texts[number + count], 5) for number in range(count)]
    expected = np.array([1 - (1 - each**8) ** 14 for each in shared])
    spread = np.sqrt((expected * (1 - expected)).sum())
    assert abs(len(pairs) - expected.sum()) <= 4 * spread + 1


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.text("ab c", max_size=12), max_size=12),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 2),
    st.sampled_from([32, 64]),
    st.integers(1, 5),
)
def test_clusters_are_those_of_comparing_all_buckets(
    tmp_path_factory: pytest.TempPathFactory, texts, ngram, buckets, hashes, precision, block
):
    values = {"ngram": ngram, "buckets": buckets, "hashes_per_bucket": hashes, "precision": precision}
    near = Near(build(Settings, values))
    rows = near.sign(texts).reshape(len(texts), buckets, hashes).tolist()
    label = list(range(len(texts)))
    for _ in texts:
        for one, first in enumerate(rows):
            for other, second in enumerate(rows):
                is_same = any(x == y and int(NOTHING) not in x for x, y in zip(first, second, strict=True))
                if is_same:
                    label[one] = label[other] = min(label[one], label[other])
    expected = [[n for n, each in enumerate(label) if each == least] for least in sorted(set(label))]
    found = clusters(near, texts, tmp_path_factory.mktemp("near"), block)
    assert found == [members for members in expected if len(members) > 1]


def test_too_little_memory_gives_the_same_clusters_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    texts = with_copies(150, 0.02) + ["the same text of six words"] * 300
    expected = clusters(Near(Settings()), texts, tmp_path / "much")
    spilled: list[Path] = []
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path: spilled.append(path) or unlink(path))
    found = clusters(Near(build(Settings, {"memory_mb": 0.02})), texts, tmp_path / "little")
    assert found == expected
    assert len(spilled) > Settings().buckets
    assert not list((tmp_path / "little").iterdir())


def test_texts_are_the_same_whatever_their_case_marks_numbers_and_punctuation(tmp_path: Path):
    texts = [
        "The café sold 3.50 worth of bread, cheese and wine on Monday!",
        "the CAFE sold 12 worth of bread cheese   and\nwine -- on monday",
        "a text about something else that has nothing to do with bread",
    ]
    assert clusters(Near(Settings()), texts, tmp_path) == [[0, 1]]


def test_a_text_shorter_than_a_shingle_has_no_near_duplicate(tmp_path: Path):
    texts = ["only four words here", "only four words here", "", "?!"]
    near = Near(Settings())
    assert (near.sign(texts) == NOTHING).all()
    assert clusters(near, texts, tmp_path) == []


def test_languages_without_spaces_are_compared_by_characters(tmp_path: Path):
    texts = ["春眠暁を覚えず処処啼鳥を聞く夜来風雨の声", "春眠暁を覚えず、処処啼鳥を聞く。夜来風雨の声"]
    assert clusters(Near(Settings()), texts, tmp_path) == []
    assert clusters(Near(build(Settings, {"unit": "characters"})), texts, tmp_path) == [[0, 1]]


def test_a_signature_does_not_depend_on_the_company(monkeypatch: pytest.MonkeyPatch):
    texts = [*with_copies(20, 0.1), "Cinq mots accentués, à côté d’une légende", "", "short"]
    near = Near(Settings())
    alone = np.concatenate([near.sign([text]) for text in texts])
    assert np.array_equal(near.sign(texts), alone)
    monkeypatch.setattr("mainspring.data.dedup.near.BATCH_CHARACTERS", 2_000)
    assert np.array_equal(near.sign(texts), alone)
    assert near.sign([]).shape == (0, 112)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="ngram"):
        build(Settings, {"ngram": 0})
    with pytest.raises(ConfigError, match="precision"):
        build(Settings, {"precision": 48})
