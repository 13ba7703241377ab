"""The rules of C4: whole pages that are no text, lines that are no sentences, pages with little left.

Paper: arXiv:1910.10683 (as printed in JMLR 21, 2020), section 2.2, "The Colossal Clean Crawled Corpus". The
defaults are its numbers: three sentences, five words. The first version on arXiv had five and three, which
datatrove keeps. A page with "lorem ipsum" or a curly bracket anywhere is dropped, as the paper says; datatrove
looks only at lines that it would retain. That a line with a word of more than 1,000 characters goes, and one
that ends in an ellipsis, stands in the authors' code and not in the paper. The list of bad words is our own
(words/en.txt). Spans of three sentences that occur twice are for deduplication.
"""

import re
from collections import Counter

from pydantic import Field

from mainspring.config import Config
from mainspring.data.document import Document
from mainspring.data.rules.base import Outcome, change, drop, keep
from mainspring.data.rules.split import num_sentences
from mainspring.data.rules.word_list import find_words, read_words

EDITION = 1
END_MARKS = (".", "!", "?", '"', "'", "”", "’")
POLICIES = (
    "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies",
)  # fmt: skip
_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")


class Settings(Config):
    min_sentences: int = Field(3, description="Fewer sentences in what is left drop the page; 0 for none.")
    min_words_per_line: int = Field(5, description="Lines of fewer words are removed; 0 for none.")
    max_word_length: int = Field(1000, description="Lines with a longer word are removed; characters.")
    terminal_punctuation: bool = Field(True, description="Remove lines that do not end in a terminal mark.")
    javascript: bool = Field(True, description="Remove lines with the word Javascript.")
    policy: bool = Field(True, description="Remove lines that speak of terms of use, privacy or cookies.")
    citations: bool = Field(True, description="Remove citation markers such as [1] and [edit].")
    lorem_ipsum: bool = Field(True, description='Drop pages with the phrase "lorem ipsum".')
    curly_bracket: bool = Field(True, description="Drop pages with a curly bracket.")
    bad_words: tuple[str, ...] = Field(
        ("en",), description="Drop pages with a word of these lists: names of our lists, or files."
    )


class Rule:
    name: str = "c4"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bad_words = read_words(settings.bad_words)

    def __call__(self, document: Document) -> Outcome:
        text = document.text
        if dropped := self._refuse(text):
            return dropped
        removed: Counter[str] = Counter()
        lines, sentences = [], 0
        for line in text.splitlines():
            clean = line.strip()
            reason = self._remove(clean)
            if reason:
                removed[reason] += 1
                continue
            clean = _CITATION.sub("", clean) if self._settings.citations else clean
            sentences += num_sentences(clean)
            lines.append(clean)
        if sentences < self._settings.min_sentences:
            numbers = {"sentences": sentences, "min_sentences": self._settings.min_sentences, **removed}
            return drop("too_few_sentences", numbers, text[:200])
        left = "\n".join(lines).strip()
        if left == text:
            return keep(document)
        return change(document, "lines_removed", text=left, numbers=dict(removed))

    def _refuse(self, text: str) -> Outcome | None:
        """The whole page, for one thing in it."""
        lower = text.lower()
        if self._settings.lorem_ipsum and (at := lower.find("lorem ipsum")) >= 0:
            return drop("lorem_ipsum", sample=_around(text, at))
        if self._settings.curly_bracket and (at := text.find("{")) >= 0:
            return drop("curly_bracket", {"curly_brackets": text.count("{")}, _around(text, at))
        if found := find_words(lower, self._bad_words):
            return drop("bad_words", {"bad_words": found.total()}, ", ".join(sorted(found)))
        return None

    def _remove(self, line: str) -> str:
        """Why a line goes, or ""."""
        if not line:
            return "blank_lines"
        at = self._settings
        words = line.split()
        if len(line) > at.max_word_length and any(len(word) > at.max_word_length for word in words):
            return "long_words"
        ending = _CITATION.sub("", line) if at.citations else line
        if at.terminal_punctuation and (not ending.endswith(END_MARKS) or ending.endswith("...")):
            return "no_terminal_punctuation"
        if len(words) < at.min_words_per_line:
            return "short_lines"
        return self._speaks_of(line.lower())

    def _speaks_of(self, lower: str) -> str:
        if self._settings.javascript and "javascript" in lower:
            return "javascript"
        return "policy" if self._settings.policy and any(each in lower for each in POLICIES) else ""


def _around(text: str, at: int) -> str:
    return text[max(0, at - 100) : at + 100]
