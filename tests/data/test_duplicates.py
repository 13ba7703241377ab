"""Who goes for whose sake, over parts and kinds: against a plain search for the least member."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.config import build
from mainspring.data import same
from mainspring.data.duplicates import Duplicates, find
from mainspring.data.recipe import DedupSettings

PIECES = [
    "ant bee cow dog eel fox",
    "gnu hen ibex jay kid lark",
    "ant bee cow dog eel fox",
    "mole newt owl pig",
]
TEXTS = st.lists(
    st.sampled_from(["", "a", "A ", "b c d e f", "b c d e F", "b c d e f g", "x y z"]),
    min_size=1,
    max_size=12,
)


def signed(texts, folder, kinds, sizes):
    """Folders of parts as workers leave them, and how many documents each has."""
    folders, counts, first = [], [], 0
    for number, size in enumerate([*sizes, len(texts)]):
        part = folder / str(number)
        part.mkdir(parents=True)
        signer = same.Signer(part, same.make_whole(kinds), same.make_spans(kinds))
        for text in texts[first : first + size]:
            signer.add(text)
        signer.close()
        folders.append(part)
        counts.append(len(texts[first : first + size]))
        first += size
    return folders, counts


@given(texts=TEXTS, sizes=st.lists(st.integers(0, 3), max_size=3), has_near=st.booleans())
@settings(max_examples=40, deadline=None)
@pytest.mark.slow
def test_the_least_of_what_is_connected_stays(texts, sizes, has_near, tmp_path_factory):
    folder = tmp_path_factory.mktemp("duplicates")
    kinds = same.resolve(build(DedupSettings, {"near": {"ngram": 2} if has_near else False}))
    folders, counts = signed(texts, folder, kinds, sizes)
    found = find(kinds, folders, counts, folder / "same")
    duplicates = Duplicates(folder / "same", list(found.clusters))
    keepers = [duplicates.keeper_of(number) for number in range(len(texts))]
    wanted = _least(texts, kinds)
    assert [number if keeper is None else keeper[0] for number, keeper in enumerate(keepers)] == wanted
    forms = [" ".join(text.casefold().split()) for text in texts]
    for number, keeper in enumerate(keepers):
        if keeper is not None and keeper[1] == "exact":
            assert forms[number] in forms[:number]
        else:
            assert forms[number] not in forms[:number]


def _least(texts, kinds):
    """The least number that each document is connected with, by going along pairs until nothing changes."""
    pairs = []
    for kind in same.make_whole(kinds):
        rows = kind.sign(texts)
        step = kind.width if kind.name == "exact" else kinds["near"]["hashes_per_bucket"]
        for i in range(len(texts)):
            for j in range(i):
                bands = (rows[i].reshape(-1, step) == rows[j].reshape(-1, step)).all(axis=1)
                has_shingles = kind.name == "exact" or rows[i][0] != np.iinfo(np.uint64).max
                pairs += [(i, j)] if bands.any() and has_shingles else []
    least = list(range(len(texts)))
    for _ in texts:
        for i, j in pairs:
            least[i] = least[j] = min(least[i], least[j])
    return least


@pytest.mark.parametrize("sizes", [[], [1], [2, 1], [0, 0, 3]])
def test_passages_are_found_over_parts_but_not_in_documents_that_go(tmp_path, sizes):
    texts = [f"{PIECES[0]}\n\n{PIECES[1]}", PIECES[3], PIECES[3].upper(), f"{PIECES[1]}\n\n{PIECES[3]} rat"]
    spans = {"min_words": 3, "min_characters": 3}
    kinds = same.resolve(build(DedupSettings, {"near": False, "spans": spans}))
    folders, counts = signed(texts, tmp_path, kinds, sizes)
    found = find(kinds, folders, counts, tmp_path / "same")
    places = Duplicates(tmp_path / "same", list(found.clusters)).places
    assert [places.of(number).tolist() for number in range(4)] == [[], [], [], [0]]
    assert (found.passages, found.clusters["exact"].clusters) == (1, 1)
    assert [(each.document, each.times) for each in found.repeated] == [(0, 1)]
