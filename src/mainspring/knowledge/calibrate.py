"""How sure a search must be before anything is answered, found from training questions alone.

Each question is asked twice: with its document there, and with that document left out, which makes an honest
question without an answer of the same style and length.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from mainspring.errors import UserError
from mainspring.knowledge.retrieve import Retriever
from mainspring.knowledge.scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A threshold and how well it tells the two kinds apart: the mean of both rates of being right."""

    threshold: float
    balanced_accuracy: float
    answered: float
    abstained: float
    questions: int


def calibrate(retriever: Retriever, questions: Sequence[tuple[str, str]], scope: Scope) -> Calibration:
    """Choose the score below which to abstain.

    Args:
        retriever: searches the knowledge base.
        questions: (question, id of the document that answers it), training questions only.
        scope: where to search.

    """
    if not questions:
        raise UserError(
            "No questions were given to calibrate with; give training questions with their documents."
        )
    texts = [question for question, _ in questions]
    vectors = retriever.embedder.embed(texts)
    present = [_best(hits) for hits in retriever.rank(texts, vectors, scope, 1)]
    absent = [0.0] * len(texts)
    for document in sorted({document for _, document in questions}):
        rows = [row for row, (_, owner) in enumerate(questions) if owner == document]
        without = Scope(tenant=scope.tenant, version=scope.version, without=scope.without | {document})
        for row, hits in zip(
            rows, retriever.rank([texts[r] for r in rows], vectors[rows], without, 1), strict=True
        ):
            absent[row] = _best(hits)
    return _choose(present, absent)


def _best(hits: Sequence) -> float:
    return hits[0].score if hits else 0.0


def _choose(present: Sequence[float], absent: Sequence[float]) -> Calibration:
    """The middle between two neighboring scores that parts the two kinds best; the lowest of equals."""
    scores = sorted({*present, *absent})
    cuts = [scores[0] - 1e-6, *((low + high) / 2 for low, high in itertools.pairwise(scores))]
    best: Calibration | None = None
    for cut in cuts:
        answered = sum(score >= cut for score in present) / len(present)
        abstained = sum(score < cut for score in absent) / len(absent)
        accuracy = (answered + abstained) / 2
        if best is None or accuracy > best.balanced_accuracy + 1e-12:
            best = Calibration(
                threshold=cut,
                balanced_accuracy=accuracy,
                answered=answered,
                abstained=abstained,
                questions=len(present),
            )
    assert best is not None
    return best
