"""Dates of birth: a date near a word that says someone was born.

Source: ISO 8601 and the usual ways of writing dates in English and German. Any other date is nobody's.
"""

import re
from collections.abc import Iterator

from mainspring.data.pii.base import Span, spans_of

_MONTH = (
    r"(?:jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|märz|apr(?:il)?|may|mai|jun[ei]?|jul[yi]?|aug(?:ust)?"
    r"|sep(?:t(?:ember)?)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)\.?"
)
_DATE = re.compile(
    r"(?<![\w/.-])(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})"
    rf"|\d{{1,2}}(?:[snrt][tdh]|\.)? (?:of )?{_MONTH},? \d{{4}}"
    rf"|{_MONTH} \d{{1,2}}(?:[snrt][tdh])?,? \d{{4}})(?![\w/-])",
    re.IGNORECASE,
)
_BORN = re.compile(
    r"\b(?:born|birth ?date|birth ?day|date of birth|d\.?o\.?b\b|geboren|geb\.|geburts(?:tag|datum))",
    re.IGNORECASE,
)
_HINTS = ("born", "birth", "dob", "d.o.b", "geb")
_REACH = 40  # characters behind the word


def spans(text: str) -> Iterator[Span]:
    return spans_of("birth_date", _places(text))


def _places(text: str) -> Iterator[tuple[int, int, float]]:
    lower, past = text.lower(), 0
    if not any(hint in lower for hint in _HINTS):
        return
    for word in _BORN.finditer(text):
        date = _DATE.search(text, max(past, word.end()), word.end() + _REACH)
        if date:
            past = date.end()
            yield *date.span(), 0.85
