"""Lists of words to look for, one word a line; those of `words/` go by their name, others by their path."""

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from mainspring.errors import ConfigError

FOLDER = Path(__file__).parent / "words"
_WORD = re.compile(r"\w+")


def read_words(names: Iterable[str]) -> frozenset[str]:
    """The words of all the lists, in lower case.

    Raises:
        ConfigError: a list that is neither ours nor a file; ours are named.

    """
    return frozenset().union(*(_read(name) for name in names))


def find_words(lower: str, wanted: frozenset[str]) -> Counter[str]:
    """Which of the words stand in a text of lower case, and how often."""
    if not wanted:
        return Counter()
    words = _WORD.findall(lower)
    return Counter() if wanted.isdisjoint(words) else Counter(word for word in words if word in wanted)


@cache
def _read(name: str) -> frozenset[str]:
    path = FOLDER / f"{name}.txt" if name.isalnum() else Path(name)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        ours = ", ".join(sorted(each.stem for each in FOLDER.glob("*.txt")))
        raise ConfigError(
            f"The list of words '{name}' cannot be read. Give a name of {ours}, or the path of a file with one "
            "word a line."
        ) from error
    return frozenset(line.strip().lower() for line in lines if line.strip() and not line.startswith("#"))
