import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.diversity import clusters_of, in_turn, k_center

POINTS = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=9, unique=True)


def radius(points, centers):
    """How far the farthest point is from its nearest center."""
    return max(min(np.linalg.norm(point - points[center]) for center in centers) for point in points)


def greedy(points, count, centers, first):
    """The rule, word by word."""
    chosen = []
    while len(chosen) < count and len(chosen) + len(centers) < len(points):
        known = [*centers, *chosen]
        if not known:
            chosen.append(first)
            continue
        far = {
            i: min(((points[i] - points[k]) ** 2).sum() for k in known)
            for i in range(len(points))
            if i not in known
        }
        chosen.append(min(far, key=lambda i: (-far[i], i)))
    return chosen


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(1, 4))
def test_k_center_covers_within_twice_the_best_of_all_choices(points, count):
    points = np.array(points, dtype=float)
    chosen = k_center(points, count)
    count = min(count, len(points))
    assert len(set(chosen)) == len(chosen) == count
    best = min(radius(points, each) for each in itertools.combinations(range(len(points)), count))
    assert radius(points, chosen) <= 2 * best + 1e-9


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(1, 9), st.data())
def test_k_center_is_the_rule_word_by_word(points, count, data):
    points = np.array(points, dtype=float)
    centers = data.draw(st.lists(st.integers(0, len(points) - 1), max_size=3, unique=True))
    first = data.draw(st.integers(0, len(points) - 1))
    assert k_center(points, count, centers, first) == greedy(points, count, centers, first)


def test_without_a_beginning_the_vector_nearest_to_the_mean_is_first():
    assert k_center(np.array([[0.0], [10.0], [4.0], [1.0]]), 2) == [2, 1]


def test_clusters_that_stand_apart_are_found_and_take_turns():
    chance = np.random.default_rng(1)
    of_point = np.repeat(np.arange(4), [50, 20, 5, 2])
    points = (
        chance.normal(size=(77, 3)) * 0.1 + np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [9, 9, 9]])[of_point]
    )
    cluster, distance = clusters_of(points, 4, seed=0)
    assert len({(a, b) for a, b in zip(of_point, cluster, strict=True)}) == 4
    assert distance.max() < 0.5
    chosen = in_turn(cluster, -distance, 12)
    assert sorted(np.bincount(of_point[chosen])) == [2, 3, 3, 4]  # the smallest cluster has but two
    assert len(set(chosen)) == 12


@pytest.mark.slow
def test_k_means_loses_no_more_than_scikit_learn_by_much():
    cluster = pytest.importorskip("sklearn.cluster")
    points = np.random.default_rng(2).normal(size=(200, 5))
    ours = min(clusters_of(points, 8, seed)[1].sum() for seed in range(5))
    theirs = cluster.KMeans(8, n_init=5, random_state=0).fit(points).inertia_
    assert ours <= 1.05 * theirs


def test_distances_to_centers_are_exact_and_nearest():
    points = np.random.default_rng(3).normal(size=(30, 4))
    cluster, distance = clusters_of(points, 5, seed=0)
    centers = {c: points[cluster == c].mean(axis=0) for c in np.unique(cluster)}
    for point, home, away in zip(points, cluster, distance, strict=True):
        assert away == pytest.approx(min(((point - each) ** 2).sum() for each in centers.values()), abs=1e-9)
        assert away == pytest.approx(((point - centers[home]) ** 2).sum(), abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=30), st.integers(1, 30))
def test_turns_are_balanced_until_clusters_are_used_up(drawn, count):
    cluster, worth = (np.array(column) for column in zip(*drawn, strict=True))
    chosen = in_turn(cluster, worth.astype(float), count)
    assert len(chosen) == len(set(chosen)) == min(count, len(drawn))
    taken, sizes = np.bincount(cluster[chosen], minlength=4), np.bincount(cluster, minlength=4)
    most = taken.max()
    assert all(n >= most - 1 or n == size for n, size in zip(taken, sizes, strict=True))
    for each in np.unique(cluster):
        left = [worth[i] for i in np.flatnonzero(cluster == each) if i not in chosen]
        assert all(worth[i] >= max(left, default=-1) for i in chosen if cluster[i] == each)


def test_equal_vectors_are_one_cluster():
    cluster, distance = clusters_of(np.ones((5, 2)), 3, seed=0)
    assert set(cluster) == {0}
    assert distance.max() == 0
