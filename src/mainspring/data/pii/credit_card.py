"""Numbers of payment cards, by their issuer's first digits, their length and their check digit.

Source: ISO/IEC 7812-1 (12 to 19 digits, the Luhn check of annex B) and the published ranges of the issuers.
A row that passes the check without a known issuer counts only where a word says that it is a card.
"""

import re
from collections.abc import Iterator

from mainspring.data.pii.base import Span, before, says, spans_of

_ROW = re.compile(r"\d(?<![\w.+-]\d)\d{0,18}+(?:[ -]\d{1,19}+){0,5}+(?![\w-]|\.\d)")
_ISSUER = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{4}|222[1-9]\d\d|22[3-9]\d{3}|2[3-6]\d{4}|27[01]\d{3}|2720\d\d)\d{10}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11,16}"  # Diners Club
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12,15}"  # Discover
    r"|(?:2131|1800)\d{11}|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|(?:5018|5020|5038|5[6-8]\d\d|6304|6759|676[1-3]|0604|6390)\d{8,15}"  # Maestro
    r"|62\d{14,17}"  # UnionPay
)
_WORDS = ("card", "credit", "debit", "visa", "mastercard", "amex", "kreditkarte", "karte", "carte", "tarjeta")
_GROUPS = {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (4, 4, 5), (4, 4, 4)}


def spans(text: str) -> Iterator[Span]:
    return spans_of("credit_card", _places(text))


def _places(text: str) -> Iterator[tuple[int, int, float]]:
    for match in _ROW.finditer(text):
        row = match.group()
        groups = re.split("[ -]", row) if len(row) <= 24 else []
        number = "".join(groups)
        is_grouped = len(groups) == 1 or tuple(map(len, groups)) in _GROUPS
        if not (12 <= len(number) <= 19 and is_grouped and passes_luhn(number) and len(set(number)) > 1):
            continue
        is_known, is_named = _ISSUER.fullmatch(number), says(before(text, match.start()), _WORDS)
        if is_known or is_named:
            yield *match.span(), 0.95 if is_known and is_named else 0.8 if is_known else 0.6


def passes_luhn(digits: str) -> bool:
    """Whether the digits' sum, every second one from the right doubled, ends in zero."""
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(each - 9 * (each > 9) for each in doubled)) % 10 == 0
