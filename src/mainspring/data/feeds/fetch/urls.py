"""URLs in one form, and what of a page leads to others: links of HTML, places of a sitemap."""

import html
import re
from collections.abc import Iterable
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from mainspring.errors import DocumentError

DEFAULT_PORTS = {"http": 80, "https": 443}
PATH_SAFE = "/%:@!$&'()*+,;=~-._"
# All repetitions are bounded, so that a hostile page costs no more than its length.
HREF = rb"""\s(?:[^<>]{0,2000}?\s)?href\s{0,9}=\s{0,9}(?:"([^"]{0,2000})"|'([^']{0,2000})'|([^\s"'<>]{1,2000}))"""
LINK = re.compile(rb"<a" + HREF, re.IGNORECASE)
BASE = re.compile(rb"<base" + HREF, re.IGNORECASE)
SITEMAP = re.compile(rb"<(?:\w{1,20}:)?(?:urlset|sitemapindex)[\s>]")
LOCATION = re.compile(rb"<(?:\w{1,20}:)?loc>\s{0,99}(?:<!\[CDATA\[)?([^<>\s\]]{1,2000})")
HEAD_BYTES = 4_096


def normal(url: str) -> str:
    """A URL without its fragment, its host and scheme small, what is not ASCII escaped.

    Raises:
        DocumentError: it is of another scheme than http and https, names a user, or is no URL.

    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = (parts.hostname or "").rstrip(".")
        host = f"[{host}]" if ":" in host else host.encode("idna").decode() if not host.isascii() else host
    except (ValueError, UnicodeError) as error:
        raise DocumentError(f"{url[:200]!r} is no URL ({error})") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise DocumentError(f"its scheme is '{parts.scheme}'; only http and https are fetched")
    if not host or re.search(r"[\x00-\x20\x7f/?#@\\]", host):
        raise DocumentError(f"{url[:200]!r} has no host")
    if parts.username is not None or parts.password is not None:
        raise DocumentError("it names a user; give a URL without")
    place = host if port in (None, DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}"
    path = quote(parts.path, safe=PATH_SAFE) or "/"
    return urlunsplit((parts.scheme, place, path, quote(parts.query, safe=PATH_SAFE + "?"), ""))


def links(data: bytes, url: str) -> list[str]:
    """What an HTML page links to, in its order, each once; what is no page of the web is left out."""
    base = BASE.search(data)
    start = urljoin(url, _text(base)) if base else url
    return _each_once(urljoin(start, _text(found)) for found in LINK.finditer(data))


def is_sitemap(data: bytes) -> bool:
    return SITEMAP.search(data[:HEAD_BYTES]) is not None


def places(data: bytes) -> list[str]:
    """The URLs of a sitemap, or of the sitemaps that one lists."""
    return _each_once(html.unescape(found[1].decode("utf-8", "replace")) for found in LOCATION.finditer(data))


def _text(found: re.Match[bytes]) -> str:
    value = next(group for group in found.groups() if group is not None)
    return html.unescape(value.decode("utf-8", "replace")).strip()


def _each_once(urls: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for url in urls:
        try:
            found[normal(url)] = None
        except DocumentError:
            continue  # mailto:, javascript: and the like
    return list(found)
