"""Where the sentences of a text are and what its words are; chunks, search and citations share this."""

import itertools
import re
import unicodedata

END = re.compile(r"[.!?]+[\"'\u201d\u2019)\]]*(?=\s)")
NEW_ITEM = re.compile(r"\n(?=\s*(?:[-*+•]|(?:\d{1,9}|#|[a-zA-Z])[.)]|\(\d+\))\s+\S)|\n\s*\n")
ABBREVIATIONS = {
    "e.g", "i.e", "etc", "cf", "vs", "dr", "mr", "mrs", "ms", "prof", "st", "no", "fig", "eq", "al", "approx",
    "ca", "incl", "resp", "jr", "sr", "vol", "ed", "eds", "pp", "sec", "ver",
}  # fmt: skip
MARKER = re.compile(r"\s*(?:[-*+•]|(?:\d{1,9}|#|[a-zA-Z])[.)]|\(\d+\))\s+")
WORD = re.compile(r"[^\W_]+(?:[._'\u2019+#/-]*[^\W_]+)*\+*", re.UNICODE)
WINDOW = 80  # characters looked at around a full stop, so that long texts cost no more a sentence
ENDINGS = ("ations", "ation", "ments", "ment", "ings", "ing", "ies", "ied", "ed", "es", "s", "ly", "y", "e")
MIN_STEM = 3
STOP = frozenset(
    """
    a about according after all also an and any are as at be been before being but by can could did do does
    doing for from had has have having he her his how i if in into is it its itself just may me might more
    most much must my no nor not of off on once one only or other our out over own same shall she should so
    some such than that the their them then there these they this those through to too under until up upon
    us use used uses using very was we were what when where which while who whom whose why will with would
    you your yours via per each both many give given tell answer question passage text say says said name
    called come comes make makes get gets
    """.split()  # noqa: SIM905 - a hundred quotes would hide the words
)


def split(text: str) -> list[tuple[int, int]]:
    """Characters (start, end) of every sentence, blanks around it left out.

    A sentence ends at . ! or ? before a blank unless an abbreviation stands there, at a blank line, and
    before the next item of a list. What stands before the last start never changes when text is appended.
    """
    cuts = {found.end() for found in NEW_ITEM.finditer(text)}
    cuts |= {found.end() for found in END.finditer(text) if _ends(text, found)}
    edges = [0, *sorted(cuts), len(text)]
    spans = []
    for start, end in itertools.pairwise(edges):
        part = text[start:end]
        if part.strip():
            spans.append((start + len(part) - len(part.lstrip()), start + len(part.rstrip())))
    return spans


def _ends(text: str, found: re.Match[str]) -> bool:
    """Whether a full stop ends a sentence: not after an abbreviation, an initial or a list's number."""
    if found[0][0] != ".":
        return True
    window = max(0, found.start() - WINDOW)
    line_start = max(window, text.rfind("\n", window, found.start()) + 1)
    before = text[line_start : found.start()].split()
    last = before[-1].lstrip("([\"'“").casefold() if before else ""
    if last in ABBREVIATIONS or (len(last) < 2 and not last.isdigit()):
        return False
    following = text[found.end() : found.end() + WINDOW].lstrip()[:1]
    if not following:
        return True
    is_number_of_item = len(before) == 1 and last.isdigit()
    return not is_number_of_item and (not following.islower() or ("." not in last and len(last) > 2))


def words(text: str) -> list[str]:
    """Lower-case words, numbers and names, without accents."""
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter)
    )
    return [found[0].casefold() for found in WORD.finditer(plain)]


def terms(text: str) -> set[str]:
    """What the content words of a text are compared by: stems, without the words that say nothing.

    A compound counts as itself and as its parts, so that `torch-based` meets `torch` and `3.8-3.12` meets
    `3.8`.
    """
    found = words(text)
    return {stem(part) for word in found for part in (word, *parts(word)) if part not in STOP}


def parts(word: str) -> list[str]:
    """The parts of a compound, none for a plain word; a number keeps its point."""
    split_up: list[str] = []
    for part in re.split(r"[-/_'\u2019+#]+", word):
        dotted = part.split(".")
        split_up += dotted if all(piece[:1].isalpha() for piece in dotted) else [part]
    return [part for part in split_up if part and part != word and (len(part) > 1 or part.isdigit())]


def stem(word: str) -> str:
    """A word without its commonest English endings: crude, alike on both sides, and enough for overlap."""
    if not word.isascii() or not word.isalpha() or word.endswith("ss"):
        return word
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= MIN_STEM:
            return word[: len(word) - len(ending)]
    return word
