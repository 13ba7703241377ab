"""International bank account numbers, by their country's length and their check digits.

Source: ISO 13616 and the SWIFT IBAN registry for the lengths (iban_lengths.txt, a country and its length); the
check is ISO 7064 MOD 97-10: letters as 10 to 35, the first four characters last, the remainder by 97 must be 1.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mainspring.data.pii.base import Span, spans_of

_START = re.compile(r"(?<![^\W_])(?=([A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}))")


def spans(text: str) -> Iterator[Span]:
    return spans_of("iban", _places(text))


def _places(text: str) -> Iterator[tuple[int, int, float]]:
    for match in _START.finditer(text):
        length = _lengths().get(match.group(1)[:2].upper(), 0)
        places = [at for at in range(*match.span(1)) if text[at].isalnum()][:length]
        number = "".join(text[at] for at in places).upper()
        if length and len(number) == length and is_valid(number):
            end = places[-1] + 1
            if end == len(text) or not text[end].isalnum():
                yield match.start(), end, 0.99


def is_valid(number: str) -> bool:
    """Whether the check digits of a number without blanks are right."""
    turned = number[4:] + number[:4]
    return int("".join(str(int(letter, 36)) for letter in turned)) % 97 == 1


@cache
def _lengths() -> dict[str, int]:
    entries = (Path(__file__).parent / "iban_lengths.txt").read_text(encoding="utf-8").split()
    return {entry[:2]: int(entry[2:]) for entry in entries}
