"""Offensive documents, by a list of words and, where one was trained, by a classifier.

Source: the density of listed words as in the toxicity filters of Gopher's and RedPajama's descriptions; the
lists (`words/`) and the limits are our own. A word alone says little: an article about a slur holds it, too.
Therefore both a number and a density must be passed.
"""

from pathlib import Path

from pydantic import Field

from mainspring.config import Config
from mainspring.data.classifier import Classifier
from mainspring.data.document import Document
from mainspring.data.rules.base import Outcome, change, drop, keep
from mainspring.data.rules.split import split_words
from mainspring.data.rules.word_list import find_words, read_words

EDITION = 1


class Settings(Config):
    words: tuple[str, ...] = Field(
        ("en", "de"), description="Lists of offensive words: names of our lists, or files of one word a line."
    )
    max_words: int = Field(2, ge=0, description="So many offensive words are let pass in any document.")
    max_density: float = Field(
        0.005, ge=0, le=1, description="With more of them, this is the largest part of words."
    )
    classifier: Path | None = Field(
        None, description="The folder of a classifier that was trained with toxic documents as bad ones."
    )
    max_score: float | None = Field(
        None, ge=0, le=1, description="Highest toxicity by the classifier; as it was calibrated if not set."
    )


class Rule:
    name: str = "toxicity"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._words = read_words(settings.words)
        self._classifier = Classifier.read(settings.classifier) if settings.classifier else None

    def __call__(self, document: Document) -> Outcome:
        found = find_words(document.text.lower(), self._words)
        if found.total() > self._settings.max_words:
            density = found.total() / max(1, len(split_words(document.text)))
            if density > self._settings.max_density:
                numbers = {
                    "offensive_words": found.total(),
                    "density": density,
                    "max_density": self._settings.max_density,
                }
                return drop("offensive_words", numbers, ", ".join(sorted(found)))
        return self._classify(document, self._classifier) if self._classifier else keep(document)

    def _classify(self, document: Document, classifier: Classifier) -> Outcome:
        score = 1 - classifier.score(document.text)
        most = self._settings.max_score
        most = 1 - classifier.threshold if most is None else most
        if score > most:
            return drop("toxic", {"toxicity": score, "max_score": most}, document.text[:200])
        return change(document, "", toxicity=round(score, 4))
