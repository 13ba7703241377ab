"""What words, lines, paragraphs and sentences are for the rules.

Words are what stands between blanks. The papers do not say what a word is; Dolma and RedPajama read them so,
too, while datatrove takes the tokens of spaCy, where every comma is a word.
"""

import re

_PARAGRAPH = re.compile(r"\n{2,}")
_LINE = re.compile(r"\n+")
_END = re.compile(
    r"(?<![.!?])"  # a run of marks is looked at once, from its begin
    r"(?<!\b[A-Z])(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bMrs)(?<!\bvs)(?<!\be\.g)(?<!\bi\.e)"
    r"[.!?]++[\"'”’»)\]]*+(?=\s|$)|[。！？]++"  # noqa: RUF001
)


def split_words(text: str) -> list[str]:
    return text.split()


def split_lines(text: str) -> list[str]:
    """Lines that hold something."""
    return [line for line in _LINE.split(text) if line]


def split_paragraphs(text: str) -> list[str]:
    """What blank lines part."""
    return _PARAGRAPH.split(text.strip())


def num_sentences(text: str) -> int:
    """How many sentences end in a text; what follows the last mark is one more.

    Initials and the commonest English abbreviations end none. A rule of thumb for counting, not for cutting.
    """
    last, count = 0, 0
    for match in _END.finditer(text):
        last, count = match.end(), count + 1
    return count + bool(text[last:].strip())
