"""Telephone numbers, in the formats of several countries.

Source: E.164 (at most 15 digits, a country's code after a plus sign or 00) and the North American Numbering
Plan (three, three and four digits; area and exchange begin with 2 to 9). How numbers are grouped elsewhere
follows no rule that can be tested, so other rows of digits count only where a word says that a number
follows, or where they begin with a zero and are grouped as numbers are.
"""

import re
from collections.abc import Iterator

from mainspring.data.pii.base import NEAR, Span, before, last_said, spans_of

_ROW = re.compile(
    r"[+(\d](?<![\w.:/$€£-][+(\d])(?<!\d,\d)"  # a place is looked at only where this character fits
    r"(?:(?<=\+) ?\d|(?<=\()\d|(?<=\d))\d*+"
    r"(?:[ .()/\-]{1,3}\d++){0,7}+"  # at most eight groups: a longer row is a table
    r"(?: ?(?:x|ext\.? ?)\d{1,6})?(?![\w%$€£])"
)
_NANP = re.compile(
    r"(?:(?:\+|00)?1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]?\d{4}(?: ?(?:x|ext).*)?\Z"
)
_DATE = re.compile(r"(?:\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2\d{2,4})(?: |\Z)")
_EXTENSION = re.compile(r" ?(?:x|ext)")
_AFTER = re.compile(r"[ -]*\(?(?:office|fax|mobile|cell|home|work|tel)\b", re.IGNORECASE)
_WORDS = (
    "phone", "tel", "call", "mobile", "cell phone", "cellphone", "cell:", "fax", "contact",
    "ring", "dial", "sms", "text me", "text us",
    "message", "answer", "whatsapp", "reach me", "reach us", "hotline", "ruf", "handy", "mobil",
    "rufnummer", "numéro", "teléfono", "telefono",
)  # fmt: skip
_OTHER_WORDS = (
    "card", "account", "isbn", "issn", "iban", "order", "invoice", "version", "serial", "ssn", "zip", "postal",
    "licence", "license", "passport", "ticket",
)  # fmt: skip


def spans(text: str) -> Iterator[Span]:
    return spans_of("phone", _places(text))


def _places(text: str) -> Iterator[tuple[int, int, float]]:
    for match in _ROW.finditer(text):
        start, end = match.span()
        row = match.group()
        if row.startswith("(") and ")" not in row:
            start, row = start + 1, row[1:]
        if is_number(row):
            yield start, end, _score(row, before(text, start), text[end : end + NEAR])


def is_number(row: str) -> bool:
    """Whether a row may be a number at all: long enough, not too long, no date, not one digit over and over."""
    digits = _digits(row)
    return 7 <= len(digits) <= 15 and len(set(digits)) > 2 and not _DATE.match(row)


def _score(row: str, said: str, follows: str) -> float:
    """How much a row of digits looks like a number to call; 0.0 where nothing speaks for it."""
    digits = _digits(row)
    if _NANP.match(row) or (row.startswith("+") and digits[0] != "0"):
        return 0.9
    called, other = last_said(said, _WORDS), last_said(said, _OTHER_WORDS)
    if other > called:
        return 0.0
    if called >= 0 or _AFTER.match(follows) or (digits.startswith("00") and len(digits) > 9):
        return 0.7
    groups = [len(group) for group in re.findall(r"\d+", row)]
    is_grouped = len(groups) > 1 and min(groups) > 1
    return 0.6 if digits.startswith("0") and 9 <= len(digits) <= 12 and is_grouped else 0.0


def _digits(row: str) -> str:
    """Without an extension."""
    return "".join(filter(str.isdigit, _EXTENSION.split(row, maxsplit=1)[0]))
