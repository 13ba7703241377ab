"""What a model says of documents, for choosing among them: a JSON object a line.

{"id": "reviews.jsonl#17", "probabilities": [0.2, 0.8], "vector": [0.1, ...]}
{"id": "reviews.jsonl#18", "nll": 2.31, "labelled": true}
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mainspring.data.uncertainty import Measure, uncertainty
from mainspring.errors import DocumentError

TOLERANCE = 1e-3  # what probabilities may miss 1 by: they are written with few digits


class Score(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document's line. `labelled` ones are never chosen, but what is chosen should be unlike them."""

    id: str
    probabilities: list[float] = []
    nll: float | None = None
    vector: list[float] = []
    labelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """All scores: uncertainty (N,) and vectors (N, D) are None where any document that may be chosen has none."""

    ids: list[str]
    uncertainty_N: np.ndarray | None
    vectors_ND: np.ndarray | None
    labelled_N: np.ndarray


def read_scores(path: Path) -> Iterator[Score]:
    """The lines of a file.

    Raises:
        DocumentError: an unreadable file, or a line that is no score; its number is named.

    """
    number = 0
    decode = msgspec.json.Decoder(Score).decode
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):  # noqa: B007 - an error names it
                if line.strip():
                    yield decode(line)
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error}. Give a file of JSON lines.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DocumentError(
            f"Line {number} of {path} is not a score: {error}. Each line is an object with id, and with "
            "probabilities or nll, and perhaps vector and labelled."
        ) from error


def gather(scores: Iterable[Score], measure: Measure) -> Scored:
    """Check scores and bring them together.

    Raises:
        DocumentError: none at all, an id that stands there twice, probabilities that are none, numbers that are
            not finite, vectors of different widths.

    """
    ids: dict[str, None] = {}
    unsure: list[float] = []
    vectors: list[np.ndarray] = []
    labelled: list[bool] = []
    for score in scores:
        if score.id in ids:
            raise DocumentError(f"There are two scores of '{score.id}'; keep one.")
        _check(score, len(vectors[0]) if vectors else 0)
        ids[score.id] = None
        labelled.append(score.labelled)
        unsure.append(_uncertainty(score, measure))
        vectors.append(np.array(score.vector, dtype=np.float32))
    if not ids:
        raise DocumentError("There are no scores to choose by; give a line for each document.")
    has_all = all(done or not np.isnan(each) for done, each in zip(labelled, unsure, strict=True))
    has_vectors = all(map(len, vectors))
    return Scored(
        ids=list(ids), uncertainty_N=np.array(unsure) if has_all else None,
        vectors_ND=np.array(vectors) if has_vectors else None, labelled_N=np.array(labelled),
    )  # fmt: skip


def _uncertainty(score: Score, measure: Measure) -> float:
    if score.probabilities:
        return uncertainty(score.probabilities, measure)
    return float("nan") if score.nll is None else score.nll


def _check(score: Score, width: int) -> None:
    numbers: list[Any] = [*score.probabilities, *score.vector, *([] if score.nll is None else [score.nll])]
    if not np.isfinite(numbers).all():
        raise DocumentError(f"The score of '{score.id}' has a number that is not finite. Leave it out.")
    p = score.probabilities
    if p and (min(p) < 0 or abs(sum(p) - 1) > TOLERANCE):
        raise DocumentError(
            f"The probabilities of '{score.id}' add up to {sum(p):g} with {min(p):g} as the least; they are 0 or more "
            "and add up to 1. Apply a softmax to logits first."
        )
    if width and score.vector and len(score.vector) != width:
        raise DocumentError(
            f"The vector of '{score.id}' has {len(score.vector)} numbers, the first one {width}. Use one embedder."
        )
