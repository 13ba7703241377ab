"""Texts as the words that near-duplicates are compared by, all in one buffer of bytes.

What does not make two texts different is taken out: case, punctuation, white space, the digits of numbers
and the marks above and below letters. It is the simplification that datatrove does before MinHash, so that
the same parameters give the same clusters. All texts go through each step together, a line each:

    ["Crème, 3.5 %", "a  b"] -> "creme  0", "a  b" -> "creme 0", "a b" -> words [1:6] [7:8] and [9:10] [11:12]
"""

import re
import string
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

Unit = Literal["words", "characters"]

CONTROLS = "".join(chr(code) for code in (*range(9), *range(11, 32), *range(127, 160)))
FOREIGN_PUNCTUATION = (
    "\u00ab\u00b4\u00bb\u2013\u2014\u2019\u201c\u201d\u201e\u2026\u2236\u2501\u25ba\u3001\u3002\u3008\u3009"
    "\u300a\u300b\u300c\u300d\u3010\u3011\uff01\uff05\uff08\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff5e"
)
PUNCTUATION = string.punctuation + FOREIGN_PUNCTUATION + CONTROLS
NUMBER = re.compile("\\d\\d*(?:[.,\u060c\u066b\u2396\u2397\u2398]\\d+)?")
ASCII_NUMBER = re.compile(
    rb"[0-9][0-9]*(?:[.,][0-9]+)?"
)  # a lone first digit lets `re` search faster than [0-9]+
SPACE, LINE_FEED = ord(" "), ord("\n")
REMOVED = sys.maxunicode + 1


@dataclass(slots=True, kw_only=True)
class Words:
    """Where the words of some texts lie in `buffer`.

    buffer: the words of all texts in UTF-8, uint8, one byte before each.
    starts, ends: of each word in the buffer, int64, shape (words,).
    texts: which text a word belongs to, int64, ascending, shape (words,).
    """

    buffer: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    texts: np.ndarray


def read_words(texts: Sequence[str], unit: Unit) -> Words:
    """Simplify texts and find their words; texts of ASCII alone take a shorter way."""
    lines = "".join(["\n" + text.replace("\n", " ") for text in texts])
    simple = _simplified_ascii(lines) if lines.isascii() else _simplified(lines)
    if unit == "characters":
        simple = "".join(
            ["\n" + " ".join("".join(line.split())) for line in _decoded(simple).split("\n")[1:]]
        ).encode("utf-8", "surrogatepass")
    return _find(np.frombuffer(simple, np.uint8))


def _find(raw: np.ndarray) -> Words:
    """Words between bytes of white space; of these, only the one before each word stays."""
    is_word = raw > SPACE
    is_kept = is_word.copy()
    is_kept[:-1] |= is_word[1:]
    edges = np.flatnonzero(np.diff(is_word, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    counts = np.diff(np.append(np.searchsorted(starts, np.flatnonzero(raw == LINE_FEED)), len(starts)))
    kept_ends = np.cumsum(ends - starts + 1)
    return Words(
        buffer=raw[is_kept],
        starts=kept_ends - (ends - starts),
        ends=kept_ends,
        texts=np.repeat(np.arange(len(counts)), counts),
    )


def _simplified_ascii(lines: str) -> bytes:
    return ASCII_NUMBER.sub(b"0", lines.encode("ascii")).translate(_ascii_table())


def _simplified(lines: str) -> bytes:
    without_numbers = NUMBER.sub("0", lines.lower())
    spaced = _code_points(without_numbers, _spaces())
    apart = unicodedata.normalize("NFD", _text(spaced))
    kept = _code_points(apart, _marks())
    return _text(kept[kept != REMOVED]).encode("utf-8", "surrogatepass")


def _code_points(text: str, table: np.ndarray) -> np.ndarray:
    return table[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")]


def _text(code_points: np.ndarray) -> str:
    return code_points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def _decoded(simple: bytes) -> str:
    return simple.decode("utf-8", "surrogatepass")


@cache
def _ascii_table() -> bytes:
    """Lower case for letters, a space for what is no part of a word."""
    lowered = (chr(code).lower() for code in range(128))
    spaced = (" " if each in PUNCTUATION or each == "\t" else each for each in lowered)
    return "".join(spaced).encode("ascii") + bytes(range(128, 256))


@cache
def _spaces() -> np.ndarray:
    """A space for punctuation and all white space but the line feed, everything else itself; uint32."""
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    table[[code for code in map(int, table) if chr(code).isspace() and code != LINE_FEED]] = SPACE
    table[[ord(each) for each in PUNCTUATION]] = SPACE
    return table


@cache
def _marks() -> np.ndarray:
    """REMOVED for marks that take no room of their own (Unicode category Mn), everything else itself; uint32."""
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    table[[code for code in map(int, table) if unicodedata.category(chr(code)) == "Mn"]] = REMOVED
    return table
