"""Documents like the good ones that a classifier was trained on, by `mainspring data classifier`.

Source: a linear model over hashed n-grams that tells chosen from arbitrary text, as GPT-3 used it to filter
Common Crawl (arXiv:2005.14165, appendix A). Unlike there, the limit is fixed and nothing is left to chance.
The score is said in `meta` of every document that stays, for mixtures and curricula.
"""

from pathlib import Path

from pydantic import Field

from mainspring.config import Config
from mainspring.data.classifier import Classifier
from mainspring.data.document import Document
from mainspring.data.rules.base import Outcome, change, drop

EDITION = 1


class Settings(Config):
    classifier: Path = Field(description="The folder of the trained classifier.")
    min_score: float | None = Field(
        None, ge=0, le=1, description="Lowest score that is kept, 0 to 1; as it was calibrated if not set."
    )


class Rule:
    name: str = "quality"

    def __init__(self, settings: Settings) -> None:
        self._classifier = Classifier.read(settings.classifier)
        least = settings.min_score
        self._least = self._classifier.threshold if least is None else least

    def __call__(self, document: Document) -> Outcome:
        score = self._classifier.score(document.text)
        if score < self._least:
            return drop("low_quality", {"quality": score, "min_score": self._least}, document.text[:200])
        return change(document, "", quality=round(score, 4))
