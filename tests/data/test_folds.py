import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.data.folds import deal

LABELS = st.sampled_from(["a", "b", "c"])


def tables(groups, found, num_folds):
    """Counts of labels by fold."""
    folds = [Counter() for _ in range(num_folds)]
    for name, counts in groups.items():
        folds[found[name]].update(counts)
    return folds


@given(st.lists(LABELS, min_size=1, max_size=80), st.integers(2, 7), st.integers(0, 3))
def test_single_documents_give_folds_that_differ_by_one_in_size_and_in_every_label(labels, num_folds, seed):
    groups = {f"d{number}": {label: 1} for number, label in enumerate(labels)}
    folds = tables(groups, deal(groups, num_folds, seed), num_folds)
    for counts in (*([fold[label] for fold in folds] for label in "abc"), [fold.total() for fold in folds]):
        assert max(counts) - min(counts) <= 1


@given(st.lists(st.integers(1, 12), min_size=1, max_size=40), st.integers(2, 7))
def test_groups_without_labels_give_folds_that_differ_by_no_more_than_the_largest_group(sizes, num_folds):
    groups = {f"g{number}": {"": size} for number, size in enumerate(sizes)}
    totals = [fold.total() for fold in tables(groups, deal(groups, num_folds), num_folds)]
    assert max(totals) - min(totals) <= max(sizes)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(2, 3))
def test_the_largest_fold_is_at_most_a_third_larger_than_the_best_of_all_ways_to_deal(sizes, num_folds):
    groups = {f"g{number}": {"": size} for number, size in enumerate(sizes)}
    largest = max(fold.total() for fold in tables(groups, deal(groups, num_folds), num_folds))
    best = min(
        max(
            sum(size for size, home in zip(sizes, homes, strict=True) if home == fold)
            for fold in range(num_folds)
        )
        for homes in itertools.product(range(num_folds), repeat=len(sizes))
    )
    assert largest <= (4 / 3 - 1 / (3 * num_folds)) * best + 1e-9  # Graham's bound


@settings(max_examples=25)
@given(st.lists(st.dictionaries(LABELS, st.integers(1, 5), min_size=1), min_size=1, max_size=12))
def test_every_group_goes_to_one_fold_whatever_the_order_in_which_groups_come(counts):
    groups = {f"g{number}": each for number, each in enumerate(counts)}
    found = deal(groups, 3, seed=5)
    assert found.keys() == groups.keys()
    assert set(found.values()) <= {0, 1, 2}
    assert deal(dict(reversed(groups.items())), 3, seed=5) == found


@pytest.mark.slow
def test_labels_of_groups_are_spread_about_as_evenly_as_scikit_learn_does():
    model_selection = pytest.importorskip("sklearn.model_selection")
    import numpy as np

    chance = np.random.default_rng(0)
    for seed in range(10):
        sizes = chance.integers(1, 9, 60)
        of_group = np.repeat(np.arange(60), sizes)
        labels = chance.choice(3, len(of_group), p=[0.7, 0.25, 0.05])
        groups = {}
        for group, label in zip(of_group, labels, strict=True):
            groups.setdefault(str(group), Counter())[str(label)] += 1
        ours = tables(groups, deal(groups, 5, seed), 5)
        other = model_selection.StratifiedGroupKFold(5).split(labels, labels, of_group)
        theirs = [Counter(str(label) for label in labels[test]) for _, test in other]
        spread = [
            sum(
                np.std([fold[label] for fold in folds]) / sum(fold[label] for fold in folds)
                for label in "012"
            )
            for folds in (ours, theirs)
        ]
        assert spread[0] <= 1.5 * spread[1] + 0.02
        sizes = [fold.total() for fold in ours]
        assert max(sizes) - min(sizes) <= 9


def test_another_seed_deals_otherwise():
    groups = {f"d{number}": {"": 1} for number in range(40)}
    assert deal(groups, 4, 0) != deal(groups, 4, 1)
