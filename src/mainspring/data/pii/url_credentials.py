"""User names and passwords within an address, as in https://ann:secret@example.org.

Source: RFC 3986, section 3.2.1 (`userinfo`). The span is what stands between the slashes and the at sign.
"""

import re
from collections.abc import Iterator

from mainspring.data.pii.base import Span, spans_of

_USER = re.compile(r"(?<=[A-Za-z0-9]://)[^\s/@:?#\"'<>]{0,128}:[^\s/@?#\"'<>]{1,256}(?=@[\w\[])")


def spans(text: str) -> Iterator[Span]:
    if "://" not in text:
        return iter(())
    return spans_of("url_credentials", ((*match.span(), 0.95) for match in _USER.finditer(text)))
