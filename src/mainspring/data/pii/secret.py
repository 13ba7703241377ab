"""Keys, tokens and passwords: by the prefixes that issuers publish, or by a word before a random value.

Source: the published formats of the issuers named below (GitHub, AWS, Google, Slack, Stripe, ...); JSON Web
Tokens are RFC 7519, private keys RFC 7468. A value behind a word such as `api_key =` counts where its letters
are spread as in random text: the entropy of Shannon (1948) over its characters.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator

from mainspring.data.pii.base import Span, spans_of

_KNOWN = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{50,90}"  # GitHub
    r"|glpat-[A-Za-z0-9_-]{20,64}"  # GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,250}"  # Slack
    r"|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,250}"  # Google
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,250}"  # Stripe
    r"|sk-(?:[a-z]{2,10}-)?[A-Za-z0-9_-]{20,250}"  # OpenAI, Anthropic
    r"|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,250}"  # hubs of packages
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"  # SendGrid
    r"|eyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,2000}"  # JSON Web Tokens
    r")(?![A-Za-z0-9_-])"
)
_BEGIN = re.compile(r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----")
_NAMED = re.compile(
    r"(?:api[_-]?key|apikey|secret(?:[_-]?key)?|access[_-]?(?:key|token)|auth[_-]?token|client[_-]?secret|token"
    r"|passw(?:or)?d|passwort|pwd|bearer)[\"']?(?:\s{0,3}(?::|=>?|\bis\b)\s{0,3}|\s)[\"']?([^\s\"'<>,;()\[\]]{8,200})",
    re.IGNORECASE,
)
_PREFIXES = (
    "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "AIza", "ya29.",
    "sk_", "rk_", "sk-", "hf_", "npm_", "pypi-", "SG.", "eyJ",
)  # fmt: skip
_NAMES = ("key", "token", "secret", "passw", "pwd", "bearer")
MIN_ENTROPY = 3.0  # bits a character; words have less, random letters and digits more
MIN_LENGTH = 12
MAX_PEM = 8000  # characters between the first and the last line


def spans(text: str) -> Iterator[Span]:
    return spans_of("secret", _places(text))


def _places(text: str) -> Iterator[tuple[int, int, float]]:
    if any(prefix in text for prefix in _PREFIXES):
        for match in _KNOWN.finditer(text):
            yield *match.span(), 0.95
    yield from _private_keys(text)
    lower = text.lower()
    if any(name in lower for name in _NAMES):
        for match in _NAMED.finditer(text):
            if _is_random(match.group(1).rstrip(".")):
                yield *match.span(1), 0.7


def _private_keys(text: str) -> Iterator[tuple[int, int, float]]:
    """From each first line of a PEM block with a private key to its last."""
    for match in _BEGIN.finditer(text):
        last = text.find("-----END", match.end())
        if last < 0:
            return
        end = text.find("-----", last + len("-----END"))
        if end >= 0 and last - match.end() <= MAX_PEM:
            yield match.start(), end + len("-----"), 0.99


def _is_random(value: str) -> bool:
    is_mixed = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return is_mixed and len(value) >= MIN_LENGTH and entropy(value) >= MIN_ENTROPY


def entropy(value: str) -> float:
    """Bits a character, by how often each stands in the value itself."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)
