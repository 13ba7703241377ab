"""Social security numbers of the United States.

Source: the Social Security Administration's rules: three, two and four digits; never 000, 666 or 9.. first,
never 00 or 0000 after. Without hyphens a row of nine digits counts only where a word says what it is.
"""

import re
from collections.abc import Iterator

from mainspring.data.pii.base import Span, before, says, spans_of

_NUMBER = re.compile(
    r"[0-8](?<![\w.+-][0-8])\d\d(?<!000)(?<!666)([ -]?)(?!00)\d{2}\1(?!0000)\d{4}(?![\w-]|\.\d)"
)
_WORDS = ("ssn", "social security", "social-security", "ss#", "ss number", "sozialversicherung")


def spans(text: str) -> Iterator[Span]:
    return spans_of("us_ssn", _places(text))


def _places(text: str) -> Iterator[tuple[int, int, float]]:
    for match in _NUMBER.finditer(text):
        is_named = says(before(text, match.start()), _WORDS)
        if is_named or match.group(1) == "-":
            yield *match.span(), 0.95 if is_named else 0.88
