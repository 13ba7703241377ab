"""Clusters from pairs against following every pair by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mainspring.data.dedup.unions import Clusters

COUNT = 30
PAIRS = st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)), max_size=60)


def plain_clusters(pairs: list[tuple[int, int]]) -> list[list[int]]:
    label = list(range(COUNT))
    for _ in range(COUNT):
        for one, other in pairs:
            label[one] = label[other] = min(label[one], label[other])
    found = [[n for n in range(COUNT) if label[n] == each] for each in sorted(set(label))]
    return [members for members in found if len(members) > 1]


def joined(pairs: list[tuple[int, int]], at_once: int) -> list[list[int]]:
    clusters = Clusters(COUNT)
    for start in range(0, len(pairs), at_once):
        block = np.array(pairs[start : start + at_once], np.uint64)
        clusters.join(block[:, 0], block[:, 1])
    return list(clusters.lists())


@given(PAIRS, st.integers(1, 60), st.randoms())
def test_clusters_are_what_pairs_connect_in_any_order(pairs, at_once, random):
    assert joined(pairs, at_once) == plain_clusters(pairs)
    random.shuffle(pairs)
    assert joined([(other, one) for one, other in pairs], at_once) == plain_clusters(pairs)


def test_a_long_chain_is_one_cluster():
    chain = [(number + 1, number) for number in range(COUNT - 1)]
    assert joined(chain[::-1], COUNT) == [list(range(COUNT))]
    assert joined(chain, 1) == [list(range(COUNT))]


def test_without_pairs_there_is_no_cluster():
    assert joined([], 1) == []
    assert list(Clusters(0).lists()) == []
