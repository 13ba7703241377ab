"""Train a classifier from good and bad documents, and say how well it tells those apart that it never saw.

documents -> by a hash: 8 in 10 to train, 1 to calibrate the threshold, 1 to report
"""

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from pydantic import Field

from mainspring.config import Config
from mainspring.data.classifier import About, Classifier
from mainspring.data.document import Document, stable_hash
from mainspring.data.features import FeatureSettings, features
from mainspring.data.logistic import Rows, fit
from mainspring.errors import UserError

Part = Literal["train", "calibrate", "test"]
Parts = dict[tuple[bool, Part], list[Document]]  # the good ones and the others
TOLERANCE = 1e-4
LEAST = 5
"""Documents of each kind that each part must have, or its figures mean nothing."""


class ClassifierSettings(Config):
    seed: int = Field(0, description="Which documents are held out.")
    c: float = Field(10.0, gt=0, description="How closely the training documents are fitted.")
    bucket_bits: int = Field(
        18, ge=8, le=24, description="N-grams are hashed to 2 to the power of this weights."
    )
    word_ngrams: int = Field(2, ge=0, le=5, description="Longest row of words that is looked at.")
    byte_ngrams: tuple[int, ...] = Field(
        (2, 4), description="Lengths of the rows of bytes that are looked at."
    )
    max_chars: int = Field(20_000, ge=100, description="Characters of a document that are looked at.")


class ClassifierReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a classifier did on documents that neither its weights nor its threshold were made from."""

    trained: int
    calibrated: int
    tested: int
    auc: float
    """How often a good document scores above a bad one, in pairs."""
    accuracy: float
    """The mean of the parts of good and of bad documents that the threshold tells rightly."""
    kept_good: float
    dropped_bad: float
    threshold: float


def train(
    good: Sequence[Document], bad: Sequence[Document], settings: ClassifierSettings
) -> tuple[Classifier, ClassifierReport]:
    """A classifier whose score is high for documents like the good ones.

    Raises:
        UserError: too few documents to train, calibrate and test with.

    """
    parts: Parts = {}
    for is_good, documents in ((True, good), (False, bad)):
        parts |= {(is_good, part): found for part, found in _parts(documents, settings.seed).items()}
    _check(parts)
    looked_at = FeatureSettings(
        bucket_bits=settings.bucket_bits, word_ngrams=settings.word_ngrams,
        byte_ngrams=settings.byte_ngrams, max_chars=settings.max_chars,
    )  # fmt: skip
    weights, bias = _fit(parts[True, "train"], parts[False, "train"], looked_at, settings.c)
    about = About(features=looked_at, bias=bias, threshold=0.5)
    classifier = Classifier(weights=weights, about=about)
    threshold = best_threshold(
        _scores(classifier, parts[True, "calibrate"]), _scores(classifier, parts[False, "calibrate"])
    )
    classifier = Classifier(weights=weights, about=msgspec.structs.replace(about, threshold=threshold))
    return classifier, _report(classifier, parts)


def _fit(
    good: Sequence[Document], bad: Sequence[Document], looked_at: FeatureSettings, c: float
) -> tuple[np.ndarray, float]:
    """Weights and bias; both kinds count the same, however many of each there are."""
    found = [features(document.text, looked_at) for document in (*good, *bad)]
    is_good = np.arange(len(found)) < len(good)
    share = np.where(is_good, len(found) / (2 * len(good)), len(found) / (2 * len(bad)))
    rows = Rows(
        buckets=np.concatenate([each.buckets for each in found]),
        values=np.concatenate([each.values for each in found]),
        bounds=np.cumsum([0, *(len(each.buckets) for each in found)]),
        width=looked_at.num_buckets,
    )
    point = fit(rows, np.where(is_good, 1.0, -1.0), share, c, TOLERANCE)
    return point[:-1].astype(np.float32), float(point[-1])


def _parts(documents: Sequence[Document], seed: int) -> dict[Part, list[Document]]:
    """Each document's part by a hash of its group or text: the same text is never both learnt and asked."""
    parts: dict[Part, list[Document]] = {"train": [], "calibrate": [], "test": []}
    for document in documents:
        if document.text.strip():
            tenth = stable_hash(f"{seed} {document.group or document.text}") % 10
            part: Part = "test" if tenth == 0 else "calibrate" if tenth == 1 else "train"
            parts[part].append(document)
    return parts


def _check(parts: Parts) -> None:
    for (is_good, part), found in parts.items():
        if len(found) < LEAST:
            kind = "good" if is_good else "bad"
            raise UserError(
                f"Only {len(found)} {kind} documents fell to the part '{part}'; each part needs {LEAST} of both "
                "kinds. Give a hundred or more good and bad documents."
            )


def _scores(classifier: Classifier, documents: Sequence[Document]) -> np.ndarray:
    return np.array([classifier.score(document.text) for document in documents])


def _report(classifier: Classifier, parts: Parts) -> ClassifierReport:
    good, bad = (_scores(classifier, parts[is_good, "test"]) for is_good in (True, False))
    kept = float((good >= classifier.threshold).mean())
    dropped = float((bad < classifier.threshold).mean())
    sizes = {
        part: len(parts[True, part]) + len(parts[False, part]) for part in ("train", "calibrate", "test")
    }
    return ClassifierReport(
        trained=sizes["train"], calibrated=sizes["calibrate"], tested=sizes["test"], auc=auc(good, bad),
        accuracy=(kept + dropped) / 2, kept_good=kept, dropped_bad=dropped, threshold=classifier.threshold,
    )  # fmt: skip


def auc(good: np.ndarray, bad: np.ndarray) -> float:
    """The part of pairs in which the good one scores higher; equal ones count half (Mann and Whitney, 1947)."""
    ordered = np.sort(bad)
    below = np.searchsorted(ordered, good, "left")
    equal = np.searchsorted(ordered, good, "right") - below
    return float((below + equal / 2).sum() / (len(good) * len(bad)))


def best_threshold(good: np.ndarray, bad: np.ndarray) -> float:
    """The score that parts both kinds best: the middle between two neighbors, the lowest of equals."""
    scores = np.unique(np.concatenate((good, bad)))
    cuts = np.concatenate(([0.0], (scores[1:] + scores[:-1]) / 2))
    kept = 1 - np.searchsorted(np.sort(good), cuts) / len(good)
    dropped = np.searchsorted(np.sort(bad), cuts) / len(bad)
    return float(cuts[np.argmax(np.round(kept + dropped, 9))])
