"""E-mail addresses.

Source: RFC 5321, section 4.5.3.1 (lengths) and RFC 1035, section 2.3.1 (labels of a domain). Quoted local
parts and addresses at bare IP numbers are left out: in text they are mistakes more often than addresses.
"""

import re
from collections.abc import Iterator

from mainspring.data.pii.base import Span, spans_of

_LOCAL = re.compile(r"(?:^|[^\w.%+'-])['.-]?(\w[\w.%+'-]{0,63})\Z")
_DOMAIN = re.compile(
    r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-]|:[\w~/])"
)  # not git@host:path
_LOCAL_MAX = 66


def spans(text: str) -> Iterator[Span]:
    """From each at sign, a domain forwards and a local part backwards, so that no run is scanned twice."""
    return spans_of("email", _places(text))


def _places(text: str) -> Iterator[tuple[int, int, float]]:
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at)
        local = _LOCAL.search(text[max(0, at - _LOCAL_MAX) : at]) if domain else None
        if domain and local:
            yield at - len(local.group(1)), domain.end(), 0.95
        at = text.find("@", at + 1)
