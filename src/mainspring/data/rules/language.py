"""Which language a document is in; documents in others than those wanted are dropped.

Source: langid.py (Lui and Baldwin, ACL 2012 demonstrations, P12-3005) as py3langid carries it on, whose model
lies in the package. The language is said in `meta` of every document that stays, which is no change of its
text and therefore has no reason.
"""

from functools import cache

from pydantic import Field

from mainspring.config import Config
from mainspring.data.document import Document
from mainspring.data.rules.base import Outcome, change, drop
from mainspring.errors import ConfigError, MissingExtraError

EDITION = 1


class Settings(Config):
    keep: tuple[str, ...] = Field(
        (), description="Languages to keep, as en, de; all of them if none is named."
    )
    min_probability: float = Field(
        0.5, ge=0, le=1, description="How sure the finding must be, 0 to 1; less is dropped."
    )
    max_chars: int = Field(
        3_000, ge=100, description="Characters of a document that are looked at: its begin, middle and end."
    )


class Rule:
    name: str = "language"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._identifier = _identifier()
        unknown = set(settings.keep) - set(self._identifier.labels)
        if unknown:
            raise ConfigError(
                f"`keep` has {', '.join(sorted(unknown))}, which the model does not know; it knows "
                f"{', '.join(sorted(self._identifier.labels))}."
            )

    def __call__(self, document: Document) -> Outcome:
        language, probability = self._identifier.classify(_part(document.text, self._settings.max_chars))
        if probability < self._settings.min_probability:
            numbers = {"probability": probability, "min_probability": self._settings.min_probability}
            return drop("uncertain", numbers, f"{language}: {document.text[:200]}")
        if self._settings.keep and language not in self._settings.keep:
            return drop("other_language", {"probability": probability}, f"{language}: {document.text[:200]}")
        return change(document, "", language=language, language_probability=round(probability, 4))


@cache
def _identifier():  # noqa: ANN202 - a class of a package that need not be there
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise MissingExtraError("py3langid", "data", "The rule `language`") from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _part(text: str, most: int) -> str:
    """Thirds from the begin, the middle and the end of a long text."""
    if len(text) <= most:
        return text
    third, middle = most // 3, len(text) // 2
    return "\n".join((text[:third], text[middle - third // 2 : middle + third // 2], text[-third:]))
