"""How near an answer is to the wanted one, by its words.

Source: the answer metrics of SQuAD (arXiv:1606.05250, section 6.1): case, punctuation and articles do not
count.
"""

import re
from collections import Counter

ARTICLES = frozenset({"a", "an", "the"})


def words(text: str) -> list[str]:
    """Lower-cased words without punctuation and articles; "3.13" and "0.11.x" stay whole."""
    found = re.findall(r"[a-z0-9]+(?:[.\-_'][a-z0-9]+)*", text.lower())
    return [word for word in found if word not in ARTICLES]


def token_f1(answer: str, wanted: str) -> float:
    """Harmonic mean of precision and recall over words, 0 to 1."""
    given, gold = Counter(words(answer)), Counter(words(wanted))
    common = sum((given & gold).values())
    if not common:
        return float(given == gold)
    precision, recall = common / given.total(), common / gold.total()
    return 2 * precision * recall / (precision + recall)


def exact_match(answer: str, wanted: str) -> float:
    return float(words(answer) == words(wanted))
