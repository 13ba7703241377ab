"""Addresses of machines on the public internet, versions 4 and 6.

Source: RFC 791 and RFC 4291, section 2.2, as the standard library's `ipaddress` reads them. Addresses that
name nobody (private, loopback, documentation) score below the usual limit; a row of four numbers that a word
calls a version is none.
"""

import ipaddress
import re
from collections.abc import Iterator

from mainspring.data.pii.base import Span, before, says, spans_of

_V4 = re.compile(r"\d(?<![\w.-]\d)\d{0,2}(?:\.\d{1,3}){3}(?![\w-]|\.\d)")
_V6 = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:[0-9A-Fa-f]{1,4}|\d{1,3}(?:\.\d{1,3}){3})?(?![\w:])"
)
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_VERSIONS = ("version", "release", "v.", "ver.", "build")


def spans(text: str) -> Iterator[Span]:
    return spans_of("ip_address", _places(text))


def _places(text: str) -> Iterator[tuple[int, int, float]]:
    if "." in text:
        yield from _valid(text, _V4, 0.9)
    if _COLONS.search(text):
        yield from _valid(text, _V6, 0.95)


def _valid(text: str, pattern: re.Pattern[str], score: float) -> Iterator[tuple[int, int, float]]:
    for match in pattern.finditer(text):
        try:
            address = ipaddress.ip_address(match.group())
        except ValueError:
            continue
        if not says(before(text, match.start(), 12), _VERSIONS):
            yield *match.span(), score if address.is_global else 0.3
