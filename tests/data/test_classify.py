import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes_prose import WORDS, prose
from mainspring import artifact
from mainspring.data.classifier import WEIGHTS, Classifier
from mainspring.data.classify import ClassifierSettings, auc, best_threshold, train
from mainspring.data.document import Document
from mainspring.data.rules.base import make
from mainspring.errors import ChecksumError, NotFoundError, UserError, WeightsError

SMALL = ClassifierSettings(bucket_bits=12)
scores = st.lists(st.integers(0, 8).map(lambda each: each / 8), min_size=1, max_size=20).map(np.array)


def documents(kind, count=150, seed=0):
    """Prose as good ones; the same words without order, mark or capital as bad ones."""
    rng = random.Random(f"{seed} {kind}")
    texts = (
        prose(rng, 4) if kind == "good" else " ".join(rng.choices(WORDS, k=rng.randint(20, 50)))
        for _ in range(count)
    )
    return [Document(id=f"{kind}#{at}", text=text) for at, text in enumerate(texts)]


@pytest.fixture(scope="module")
def trained():
    return train(documents("good"), documents("bad"), SMALL)


@pytest.fixture
def folder(trained, tmp_path):
    made = artifact.write(tmp_path, "classifier", "prose", trained[0].write)
    return made.folder(tmp_path)


def test_good_and_bad_documents_that_were_held_out_are_told_apart(trained):
    _, report = trained
    assert report.trained + report.calibrated + report.tested == 300
    assert report.auc > 0.95
    assert report.accuracy > 0.9
    assert report.accuracy == (report.kept_good + report.dropped_bad) / 2


def test_what_cannot_be_told_apart_is_reported_as_chance():
    _, report = train(documents("good", 300, seed=1), documents("good", 300, seed=2), SMALL)
    assert 0.3 < report.auc < 0.7


def test_the_same_documents_and_seed_give_the_same_bits_and_another_seed_holds_out_others(trained):
    again, report = train(documents("good"), documents("bad"), SMALL)
    assert (again.weights == trained[0].weights).all()
    assert again.about == trained[0].about
    other = train(documents("good"), documents("bad"), ClassifierSettings(bucket_bits=12, seed=1))[1]
    assert (other.trained, other.tested) != (
        report.trained,
        report.tested,
    ) or other.threshold != report.threshold


def test_a_text_that_occurs_often_is_never_both_learnt_and_asked():
    many = [Document(id=str(at), text="the very same text") for at in range(200)]
    with pytest.raises(UserError, match=r"Only 0 good documents"):
        train(many, documents("bad"), SMALL)


@pytest.mark.parametrize(("good", "bad"), [(0, 150), (150, 3)])
def test_too_few_documents_are_an_error_that_says_how_many_are_needed(good, bad):
    with pytest.raises(UserError, match="hundred or more"):
        train(documents("good", good), documents("bad", bad), SMALL)


def test_the_rule_drops_what_scores_below_the_threshold_and_says_the_score_of_the_rest(trained, folder):
    rule = make("quality", {"classifier": str(folder)})
    kept = [rule(document) for document in documents("good", 40, seed=9)]
    dropped = [rule(document) for document in documents("bad", 40, seed=9)]
    assert sum(outcome.document is not None for outcome in kept) > 35
    assert sum(outcome.document is None for outcome in dropped) > 35
    stays = next(outcome.document for outcome in kept if outcome.document)
    assert stays.meta["quality"] == round(trained[0].score(stays.text), 4)
    goes = next(outcome for outcome in dropped if outcome.document is None)
    assert goes.reason == "low_quality"
    assert goes.numbers["quality"] < goes.numbers["min_score"] == trained[0].threshold


def test_a_limit_of_ones_own_goes_before_the_calibrated_one(folder):
    rule = make("quality", {"classifier": str(folder), "min_score": 0.0})
    assert all(rule(document).document for document in documents("bad", 10))


def test_toxicity_is_how_much_a_document_is_like_the_bad_ones(trained, folder):
    rule = make("toxicity", {"classifier": str(folder), "words": []})
    document = documents("bad", 1, seed=9)[0]
    outcome = rule(document)
    assert (outcome.document, outcome.reason) == (None, "toxic")
    assert outcome.numbers == {
        "toxicity": 1 - trained[0].score(document.text), "max_score": 1 - trained[0].threshold,
    }  # fmt: skip


def test_a_classifier_is_read_as_it_was_written(trained, folder):
    read = Classifier.read(folder)
    assert (read.weights == trained[0].weights).all()
    assert read.about == trained[0].about


def test_an_edited_classifier_is_refused(folder):
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ChecksumError):
        Classifier.read(folder)


def test_damaged_or_missing_weights_are_refused_also_without_a_manifest(folder):
    (folder / "manifest.json").unlink()
    (folder / WEIGHTS).write_bytes(b"\x80\x04pickle")
    with pytest.raises(WeightsError):
        Classifier.read(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(NotFoundError, match="mainspring data classifier"):
        Classifier.read(folder)


@given(scores, scores)
def test_auc_is_the_part_of_pairs_in_the_right_order(good, bad):
    pairs = [(first > second) + (first == second) / 2 for first in good for second in bad]
    assert auc(good, bad) == pytest.approx(sum(pairs) / len(pairs))


@given(scores, scores)
def test_no_threshold_parts_both_kinds_better_than_the_chosen_one(good, bad):
    def parted(cut):
        return (good >= cut).mean() + (bad < cut).mean()

    cuts = [0.0, *np.unique(np.concatenate((good, bad))), 2.0]
    best = max(parted(cut) for cut in cuts[:-1])
    assert parted(best_threshold(good, bad)) == pytest.approx(best)
