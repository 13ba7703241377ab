import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes_datasets import add_dataset
from mainspring.config import build
from mainspring.data.document import Document, read_documents
from mainspring.data.scores import Score, gather
from mainspring.data.select import SelectConfig, choose, select_dataset
from mainspring.errors import ConfigError, NotFoundError


def config(**values):
    return build(SelectConfig, values)


def scored(rows):
    """Of (nll, vector) or (nll, vector, labelled)."""
    scores = [
        Score(id=f"d{number}", nll=nll, vector=vector, labelled=any(more))
        for number, (nll, vector, *more) in enumerate(rows)
    ]
    return gather(scores, "entropy")


RANDOM = [(float(nll), list(map(float, v))) for nll, v in zip(
    np.random.default_rng(0).random(60), np.random.default_rng(1).normal(size=(60, 4)), strict=True
)]  # fmt: skip


def test_by_uncertainty_the_least_sure_are_chosen_in_order():
    chosen = choose(scored(RANDOM), config(by="uncertainty", count=10))
    assert chosen == sorted(range(60), key=lambda i: -RANDOM[i][0])[:10]


def test_between_equals_the_seed_decides():
    even = scored([(1.0, [1.0])] * 50)
    first, again, other = (choose(even, config(by="uncertainty", count=5, seed=seed)) for seed in (0, 0, 1))
    assert first == again != other


@settings(max_examples=30)
@given(
    st.sampled_from(["uncertainty", "diversity", "both"]),
    st.sampled_from(["k_center", "clusters"]),
    st.integers(1, 80),
)
def test_labelled_documents_are_never_chosen_and_none_twice(by, spread, count):
    rows = [(nll, vector, number % 3 == 0) for number, (nll, vector) in enumerate(RANDOM)]
    chosen = choose(scored(rows), config(by=by, spread=spread, count=count))
    assert len(set(chosen)) == len(chosen) == min(count, 40)
    assert all(index % 3 for index in chosen)


def test_by_both_only_the_least_sure_are_looked_at_and_the_least_sure_is_first():
    chosen = choose(scored(RANDOM), config(by="both", count=4, candidates=3))
    order = sorted(range(60), key=lambda i: -RANDOM[i][0])
    assert chosen[0] == order[0]
    assert set(chosen) <= set(order[:12])
    assert set(chosen) != set(order[:4])


@pytest.mark.parametrize("spread", ["k_center", "clusters"])
def test_diversity_spreads_over_groups_where_uncertainty_takes_one(spread):
    chance = np.random.default_rng(3)
    homes = np.repeat(np.arange(5), 20)
    rows = [
        (
            (2.0 if home == 4 else 1.0) + chance.random() / 10,
            (np.eye(5)[home] + chance.normal(size=5) / 50).tolist(),
        )
        for home in homes
    ]
    alike = choose(scored(rows), config(by="uncertainty", count=5))
    assert set(homes[alike]) == {4}
    for by in ("diversity", "both"):
        spread_out = choose(scored(rows), config(by=by, count=5, candidates=20, spread=spread))
        assert set(homes[spread_out]) == {0, 1, 2, 3, 4}


def test_k_center_keeps_away_from_what_is_labelled():
    rows = [(1.0, [0.0, 1.0], True), (1.0, [0.0, 1.01]), (1.0, [1.0, 0.0]), (1.0, [0.9, 0.1])]
    assert choose(scored(rows), config(by="diversity", count=1)) == [2]


def test_directions_are_compared_unless_told_otherwise():
    rows = [(1.0, [1.0, 0.0], True), (1.0, [50.0, 0.0]), (1.0, [0.0, 1.0])]
    assert choose(scored(rows), config(by="diversity", count=1)) == [2]
    assert choose(scored(rows), config(by="diversity", count=1, cosine=False)) == [1]


def test_what_cannot_be_chosen_by_says_what_to_do():
    bare = gather([Score(id="a", nll=1.0)], "entropy")
    with pytest.raises(ConfigError, match="every score needs a `vector`"):
        choose(bare, config(by="both"))
    with pytest.raises(ConfigError, match="needs `probabilities` or `nll`"):
        choose(gather([Score(id="a", vector=[1.0])], "entropy"), config(by="both"))
    with pytest.raises(ConfigError, match="uncertainty"):
        config(by="chance")


def test_the_chosen_documents_become_a_dataset_in_their_order(registry):
    dataset = add_dataset(registry, {"train": [Document(id=f"d{n}", text=f"t{n}") for n in range(60)]})
    made, ids = select_dataset(registry, dataset, scored(RANDOM), config(by="both", count=7), name="next")
    found = list(read_documents(registry.folder(made) / "documents" / "train-00000.jsonl"))
    assert [document.id for document in found] == ids
    assert [document.meta["chosen"] for document in found] == list(range(1, 8))
    assert found[0].meta["uncertainty"] == pytest.approx(max(nll for nll, _ in RANDOM), abs=1e-6)
    assert made.parents == {"documents": "dataset/data@1"}


def test_scores_of_another_dataset_are_an_error(registry):
    dataset = add_dataset(registry, [Document(id="x", text="t")])
    with pytest.raises(NotFoundError, match=r"no document 'd\d+' \(3 of 3 are missing\)"):
        select_dataset(registry, dataset, scored(RANDOM), config(by="uncertainty", count=3), name="next")
