"""Lines that a page says and its author did not: cookie notices, menus, buttons, copyright lines.

Source: line rules in the manner of C4 (arXiv:1910.10683, section 2.2); the patterns are our own. What HTML
says of its parts is the parser's; here is only text. Only short lines are looked at, and only in documents
that come from HTML (`meta` says so) or in which several such lines stand.
"""

import re
from collections import Counter

from pydantic import Field

from mainspring.config import Config
from mainspring.data.document import Document
from mainspring.data.rules.base import Outcome, change, drop, keep

EDITION = 1
_COOKIES = re.compile(
    r"\b(?:accept (?:all )?cookies|cookie (?:policy|settings|preferences|notice)|(?:use|uses|using) (?:of )?cookies"
    r"|privacy policy|terms (?:of (?:use|service)|and conditions)|manage consent|gdpr"
    r"|cookies? (?:akzeptieren|zulassen)|verwende[nt] cookies|datenschutzerklärung)\b"
)
_LEGAL = re.compile(r"^(?:copyright\b|©|\(c\) ?\d{4})|\ball rights reserved\b|\brechte vorbehalten\b")
_BUTTON = re.compile(
    r"^\W*(?:home|menu|search|log ?in|log ?out|sign ?(?:in|up|out)|register|subscribe|share|tweet|pin it|like"
    r"|follow us|contact(?: us)?|about(?: us)?|next|previous|prev|back(?: to top)?|top|read more|more|faq|help"
    r"|sitemap|print|e-?mail|download|reply|comments?|leave a (?:reply|comment)|skip to (?:main )?content"
    r"|loading|advertisement|newsletter|terms|privacy|cookies|imprint|startseite|suche|anmelden|abmelden"
    r"|registrieren|teilen|drucken|kontakt|impressum|datenschutz|agb|weiterlesen|mehr|zurück|weiter)\W*$"
)
_PARTED = re.compile("\\s[|·•»\u203a>/]\\s|\\s?[|»\u203a]\\s?")


class Settings(Config):
    max_line_chars: int = Field(200, ge=1, description="Longer lines are never boilerplate.")
    min_lines: int = Field(
        3, ge=1, description="Documents that are not HTML are touched from so many such lines on."
    )
    min_left_fraction: float = Field(
        0.2, ge=0, le=1, description="A document is dropped where less of its characters would be left."
    )


class Rule:
    name: str = "boilerplate"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __call__(self, document: Document) -> Outcome:
        text = document.text
        found: Counter[str] = Counter()
        lines, gone = [], []
        for line in text.split("\n"):
            kind = self._kind(line)
            if kind:
                found[kind] += 1
                gone.append(line)
            else:
                lines.append(line)
        if not found or (not _is_html(document) and found.total() < self._settings.min_lines):
            return keep(document)
        left = "\n".join(lines).strip("\n")
        fraction = sum(map(len, lines)) / max(1, len(text) - text.count("\n"))
        numbers = {"left_fraction": fraction, **{f"{kind}_lines": count for kind, count in found.items()}}
        sample = "\n".join(gone)[:200]
        if fraction < self._settings.min_left_fraction:
            return drop(
                "only_boilerplate",
                {**numbers, "min_left_fraction": self._settings.min_left_fraction},
                sample,
            )
        return change(document, "boilerplate_removed", text=left, numbers=numbers, sample=sample)

    def _kind(self, line: str) -> str:
        """What a line is, or "" if its author may have written it."""
        if not line or len(line) > self._settings.max_line_chars or line.isspace():
            return ""
        lower = line.strip().lower()
        if _BUTTON.match(lower):
            return "button"
        if _COOKIES.search(lower):
            return "cookie"
        if _LEGAL.search(lower):
            return "legal"
        return "menu" if _is_menu(lower) else ""


def _is_menu(line: str) -> bool:
    """Whether a line is a row of short entries, at least one of which is a known button."""
    entries = _PARTED.split(line)
    is_short = len(entries) > 2 and all(len(entry.split()) <= 3 for entry in entries)
    return is_short and any(_BUTTON.match(entry) for entry in entries)


def _is_html(document: Document) -> bool:
    return any("html" in str(document.meta.get(key, "")).lower() for key in ("format", "content_type"))
