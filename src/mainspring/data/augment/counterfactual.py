"""Texts with paired terms exchanged, he for she and she for he: a model that learns both learns no preference.

Source: Lu et al., "Gender Bias in Neural Natural Language Processing", arXiv:1807.11714; with pairs of names, Hall
Maudslay et al., arXiv:1909.00871. Pairs are data files: two terms a line. A term keeps its casing (he, He, HE) and
whatever is joined to it (king's, mother-in-law). A term that is written with a capital in the file, a name, is
met with a capital alone. "his", "her", "hers" and "him" are told apart by rules: pronouns.py.
"""

import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

import pydantic

from mainspring.config import Config
from mainspring.data.augment.base import Changed
from mainspring.data.augment.pronouns import of_her, of_his
from mainspring.errors import ConfigError

RULED = ("his", "her", "hers", "him")


class Settings(Config):
    """Which terms are exchanged."""

    pairs: tuple[str, ...] = pydantic.Field(
        default=("gender_en",),
        description="Files of pairs, in order: gender_en, names_en, or the path of your own.",
    )
    pronouns: bool = pydantic.Field(
        default=True, description="Exchange his, her, hers and him by the rules for English, too."
    )


class Counterfactual:
    """Exchanges every term that has a counterpart.

    Raises:
        ConfigError: a file of pairs that cannot be read, or a term that stands in two pairs.

    """

    name = "counterfactual"
    roles: tuple[str, ...] = ("system", "user", "assistant")

    def __init__(self, settings: Settings) -> None:
        self.partners = _partners(each for name in settings.pairs for each in read_pairs(name))
        self._ruled = RULED if settings.pronouns else ()
        terms = sorted({*map(str.lower, self.partners), *self._ruled}, key=lambda term: (-len(term), term))
        self._terms = re.compile(rf"(?<![\w])(?:{'|'.join(map(re.escape, terms))})(?![\w])", re.IGNORECASE)

    def __call__(self, texts: Sequence[str], keys: Sequence[str], copy: int) -> list[Changed]:
        changed = [self.swap(text) for text in texts]
        return [
            Changed(text=after) if after != before else Changed(reason="no paired term")
            for before, after in zip(texts, changed, strict=True)
        ]

    def swap(self, text: str) -> str:
        """The text with every paired term exchanged."""
        return self._terms.sub(self._partner, text)

    def _partner(self, found: re.Match[str]) -> str:
        term = found.group()
        lower = term.lower()
        if lower in self._ruled:
            return _cased(self._pronoun(found, lower), term)
        partner = self.partners.get(lower) or (
            self.partners.get(lower.capitalize()) if term != lower else None
        )
        return _cased(partner, term) if partner else term

    def _pronoun(self, found: re.Match[str], lower: str) -> str:
        if lower == "his":
            return of_his(found.string, found.end())
        if lower == "her":
            return of_her(found.string, found.start(), found.end())
        return {"hers": "his", "him": "her"}[lower]


def read_pairs(name: str) -> list[tuple[str, str]]:
    """The pairs of a file, one of the package's own or that of a path.

    Raises:
        ConfigError: no such file, or a line that is no pair; its number is named.

    """
    own = resources.files("mainspring.data.augment").joinpath("pairs", f"{name}.txt")
    try:
        text = own.read_text(encoding="utf-8") if own.is_file() else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The file of pairs '{name}' cannot be read ({error}). Give gender_en, names_en or the path of a text file."
        ) from error
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        terms = [term.strip() for term in line.partition("#")[0].split("|")]
        if terms == [""]:
            continue
        if len(terms) != 2 or not all(terms):
            raise ConfigError(
                f"Line {number} of the pairs '{name}' is '{line}'; write two terms as 'he | she'."
            )
        pairs.append((terms[0], terms[1]))
    return pairs


def _partners(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        for term, partner in (pair, pair[::-1]):
            if term in found or term.lower() in RULED:
                why = (
                    f"with '{found[term]}' and '{partner}'"
                    if term in found
                    else "though rules decide over it"
                )
                raise ConfigError(
                    f"'{term}' is paired {why}; leave one pair out, so that it is clear what it becomes."
                )
            found[term] = partner
    return found


def _cased(partner: str, term: str) -> str:
    """The partner in the casing of the term that it stands for."""
    if term.isupper() and len(term) > 1:
        return partner.upper()
    return partner[:1].upper() + partner[1:] if term[:1].isupper() else partner
