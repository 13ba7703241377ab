"""What "her" and "his" become, which each stand for two words of the other gender.

    her + noun phrase   -> his     her book, her own, her very old car
    her + anything else -> him     saw her. / told her that / gave her the book / let her go / paid her 5 dollars
    his + noun phrase   -> her     his book, his own
    his + anything else -> hers    it is his. / a friend of his was / his is old

A noun phrase begins with any word that is not among the closed ones (words/pronouns_en.txt), with two exceptions for
"her": a verb behind "let her", "saw her" and the like, and a number or "more" behind "gave her" and the like, leave it
an object. An adverb in -ly is looked through. "call her back" and "took her home" are met by their verbs. Known
limits: "made her happy", "gave her advice" and "saw her duck" are read as nouns of hers; a parser would be needed.
"""

import re
from importlib import resources

LISTS = "pronouns_en.txt"


def _read_lists() -> dict[str, frozenset[str]]:
    """The lists of words by their names."""
    text = resources.files("mainspring.data.augment").joinpath("words", LISTS).read_text(encoding="utf-8")
    sections = re.split(r"^\[(\w+)\].*$", text, flags=re.MULTILINE)[1:]
    return {name: frozenset(words.split()) for name, words in zip(sections[::2], sections[1::2], strict=True)}


WORDS = _read_lists()
CLOSED = WORDS["closed"]
NEXT = re.compile(r"[ \t\n]*((?:[^\W_][\w'\u2019-]*)|\S|$)")
ORDINAL = re.compile(r"\d+[a-z]{2}$")
LAST = re.compile(r"([\w'\u2019-]+)[ \t\n]*$")


def of_her(text: str, start: int, end: int) -> str:
    """What the "her" at these characters is for a man: his or him."""
    word, behind = _next(text, end)
    before = LAST.search(text, max(0, start - 40), start)
    verb = before.group(1).lower() if before else ""
    if verb in WORDS["causing"] and word in WORDS["bare_verbs"]:
        return "him"
    if _is_number(word):
        return "him" if verb in WORDS["giving"] else "his"
    if word in ("back", "home") and verb in WORDS["returning"]:
        return "him"
    if word.endswith("ly") and word not in WORDS["no_adverbs"]:
        word, _ = _next(text, behind)
    return "his" if _begins_noun_phrase(word) else "him"


def of_his(text: str, end: int) -> str:
    """What the "his" that ends there is for a woman: her or hers."""
    word, _ = _next(text, end)
    return "her" if _begins_noun_phrase(word) or _is_number(word) else "hers"


def _next(text: str, end: int) -> tuple[str, int]:
    """The word or sign behind a place, in lower case, and where it ends."""
    found = NEXT.match(text, end)
    return (found.group(1).lower(), found.end()) if found else ("", end)


def _is_number(word: str) -> bool:
    is_count = word[:1].isdigit() and not ORDINAL.match(word)
    return is_count or word in WORDS["numbers"] or word in ("$", "\u20ac", "\u00a3")


def _begins_noun_phrase(word: str) -> bool:
    return word in ("\u201c", '"', "(", "[", "*", "_") or (word[:1].isalnum() and word not in CLOSED)
