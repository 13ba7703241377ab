"""Text as it was meant: decoding mistakes, line ends, invisible characters and half characters repaired.

Source: ftfy (Robyn Speer, 2019, doi:10.5281/zenodo.2591652) for text that was decoded wrongly, HTML entities
in text without tags, ligatures and half characters. Its finding that a text looks well is asked once for the
whole text, and only lines that do not are repaired: the result is the same and comes many times sooner.
Quotation marks and full-width characters stay as their author wrote them, and entities stay in the whole text
where a tag stands anywhere in it (ftfy decides that line by line, from the first tag on).
"""

import re
import unicodedata
from collections import Counter

from pydantic import Field

from mainspring.config import Config
from mainspring.data.document import Document
from mainspring.data.rules.base import Outcome, change, drop, keep
from mainspring.data.rules.conversation import rewrite_messages
from mainspring.errors import MissingExtraError

EDITION = 1
_LINE_END = re.compile("\r\n?|[\v\f\u0085\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INVISIBLE = re.compile(
    "["
    "\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"  # control characters; line ends are repaired before
    "\u00ad\u200b\u2060\ufeff"  # soft hyphen, zero-width space, word joiner, byte order mark
    "\u202a-\u202e\u2066-\u2069"  # text turned around, which can hide what it says
    "\ufff9-\ufffb\U000e0000-\U000e007f"  # annotations and tags, which carry text that nobody sees
    "]+"
)
"""Joiners (U+200C, U+200D) are not among them: Persian, Indic scripts and emoji are written with them."""
REPLACEMENT = "\ufffd"
MAX_ROUNDS = 4  # text can be wrapped in mistakes without end; so many layers are taken off


class Settings(Config):
    max_broken_fraction: float = Field(
        0.005, ge=0, le=1, description="Most characters of the repaired text that are U+FFFD."
    )
    entities: bool = Field(True, description="Turn HTML entities into characters in text without tags.")
    ligatures: bool = Field(True, description="Turn ligatures such as U+FB01 into letters.")
    normalization: bool = Field(True, description="Compose characters (NFC).")


class Rule:
    name: str = "unicode"

    def __init__(self, settings: Settings) -> None:
        try:
            import ftfy
            from ftfy import badness, fixes
        except ImportError as error:
            raise MissingExtraError("ftfy", "data", "The rule `unicode`") from error
        self._settings = settings
        self._fix_encoding, self._is_bad, self._fixes = ftfy.fix_encoding, badness.is_bad, fixes

    def __call__(self, document: Document) -> Outcome:
        text = self.repair(document.text)
        broken = text.count(REPLACEMENT) / max(1, len(text))
        limit = self._settings.max_broken_fraction
        if broken > limit:
            at = max(0, text.index(REPLACEMENT) - 50)
            numbers = {"broken_fraction": broken, "max_broken_fraction": limit}
            return drop("broken", numbers, text[at : at + 200])
        meta = rewrite_messages(document, self.repair)
        if text == document.text and not meta:
            return keep(document)
        count = changed_characters(document.text, text)
        return change(document, "repaired", text=text, numbers={"changed_characters": count}, **meta)

    def repair(self, text: str) -> str:
        """Repaired until nothing changes, as one repair can bring the need of another to light."""
        text = _LINE_END.sub("\n", text)
        for _ in range(MAX_ROUNDS):
            before = text
            if "\x1b" in text:
                text = self._fixes.remove_terminal_escapes(text)
            if self._settings.entities and "&" in text and "<" not in text:
                text = self._fixes.unescape_html(text)
            if not text.isascii():
                text = self._repair_characters(text)
            text = _INVISIBLE.sub("", text)
            if text == before:
                break
        return text

    def _repair_characters(self, text: str) -> str:
        if _SURROGATE.search(text):
            text = self._fixes.fix_surrogates(text)
        if self._is_bad(text):
            text = "\n".join(self._fix_line(line) for line in text.split("\n"))
        if self._settings.ligatures:
            text = self._fixes.fix_latin_ligatures(text)
        return unicodedata.normalize("NFC", text) if self._settings.normalization else text

    def _fix_line(self, line: str) -> str:
        return line if line.isascii() or not self._is_bad(line) else self._fix_encoding(line)


def changed_characters(before: str, after: str) -> int:
    """How many characters one text has and the other has not, in any order; the edits are at least as many."""
    had, has = Counter(before), Counter(after)
    return max((had - has).total(), (has - had).total())
