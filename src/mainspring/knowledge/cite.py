"""Answers aligned to stored text, after they are generated: which stored sentence says the same?

Numbers that a model writes are never trusted: `[1]` is taken out, and a number, a name or a piece of code
in an answer must stand in the quote (or in the title or heading above it), or the quote does not support
it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mainspring.knowledge import sentences
from mainspring.schema import Citation, Hit

MODEL_MARK = re.compile(r"\s?\[\d+(?:\s*,\s*\d+)*\]")
HARD = re.compile(r"\d|[A-Z]|[_./\\@=]")
HARD_WEIGHT = 2.0  # a number or a name says more than the words around it
RELEVANCE_WEIGHT = 0.5
OTHER_DOCUMENT = 0.5  # a sentence of a document that is not the one which the question names
CHUNK_SHARE = 0.3  # how much of a sentence's relevance comes from the chunk that it stands in


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A stored sentence, how well it supports an answer's sentence, and its relevance to the question."""

    hit: Hit
    start: int
    end: int
    quote: str
    support: float
    relevance: float


@dataclass(frozen=True, slots=True)
class _Quote:
    hit: Hit
    start: int
    end: int
    text: str
    own: frozenset[str]
    around: frozenset[str]
    relevance: float


class Aligner:
    """The stored sentences of some hits, ready to be compared with an answer's sentences.

    A question that names documents is answered from these: what another says of itself supports nothing.

    Args:
        question: what was asked.
        hits: where answers may come from.
        idf: how rare a term is.
        titles: of all documents, by their id.

    """

    def __init__(
        self, question: str, hits: Sequence[Hit], idf: Callable[[str], float], titles: Mapping[str, str]
    ) -> None:
        self._idf = idf
        self._asked = sentences.terms(question)
        self._named = {document for document, title in titles.items() if self._names(title)}
        self._quotes = [quote for hit in hits for quote in self._quotes_of(hit)]
        self._most = max((quote.relevance for quote in self._quotes), default=0.0) or 1.0

    def support(self, sentence: str) -> Evidence | None:
        """The stored sentence that supports a sentence of an answer best, or None when none does at all.

        A sentence that only repeats the question says nothing, so nothing supports it.
        """
        said = sentences.terms(sentence)
        hard = [forms for forms in _hard_terms(sentence) if not forms & self._asked]
        fresh = said - self._asked
        best: Evidence | None = None
        for quote in self._quotes if fresh else ():
            if self._named and quote.hit.chunk.document not in self._named:
                continue
            known = quote.own | quote.around
            if not fresh & quote.own or any(not forms & known for forms in hard):
                continue
            heavy = set[str]().union(*hard)
            held = self._share(said, known, heavy) * self._share(fresh, known, heavy) ** 0.5
            related = 1.0 - RELEVANCE_WEIGHT + RELEVANCE_WEIGHT * quote.relevance / self._most
            if best is None or held * related > best.support:
                best = _evidence(quote, held * related)
        return best

    def most_relevant(self) -> Evidence | None:
        """The stored sentence that has most to do with the question."""
        best = max(self._quotes, key=lambda quote: quote.relevance, default=None)
        return None if best is None else _evidence(best, 1.0)

    def _names(self, title: str) -> bool:
        terms = sentences.terms(title)
        return bool(terms) and terms <= self._asked

    def _quotes_of(self, hit: Hit) -> list[_Quote]:
        """A chunk's sentences, without the markers of list items."""
        chunk = hit.chunk
        around = frozenset(sentences.terms(f"{chunk.title} {chunk.heading}"))
        whole = self._share(self._asked, around | sentences.terms(chunk.text), set())
        quotes = []
        for first, end in sentences.split(chunk.text):
            marker = sentences.MARKER.match(chunk.text, first, end)
            start = marker.end() if marker else first
            own = frozenset(sentences.terms(chunk.text[start:end]))
            if own:
                covered = self._share(self._asked, own | around, set())
                relevance = (1.0 - CHUNK_SHARE) * covered + CHUNK_SHARE * whole
                if self._named and chunk.document not in self._named:
                    relevance *= OTHER_DOCUMENT
                text = chunk.text[start:end]
                quotes.append(
                    _Quote(hit, chunk.start + start, chunk.start + end, text, own, around, relevance)
                )
        return quotes

    def _share(self, terms: set[str], held: AbstractSet[str], heavy: set[str]) -> float:
        """How much of `terms` is held, each weighted by how rare it is; the heavy ones more."""
        weights = {term: self._idf(term) * (HARD_WEIGHT if term in heavy else 1.0) for term in terms}
        total = sum(weights.values())
        return sum(weight for term, weight in weights.items() if term in held) / total if total else 0.0


def clean(sentence: str, titles: Iterable[str] = ()) -> str:
    """A model's sentence without reference numbers it made up and labels of the prompt that it echoes."""
    sentence = MODEL_MARK.sub("", sentence).strip()
    for label in ("Answer", *titles):
        if sentence.casefold().startswith(f"{label.casefold()}: "):
            sentence = sentence[len(label) + 2 :].strip()
    return sentence


def citation(evidence: Evidence, number: int, sentence_start: int, sentence_end: int) -> Citation:
    """The record of a stored sentence that supports characters of an answer."""
    chunk = evidence.hit.chunk
    return Citation(
        number=number, document=chunk.document, title=chunk.title, chunk=chunk.id, start=evidence.start,
        end=evidence.end, quote=evidence.quote, sentence_start=sentence_start, sentence_end=sentence_end,
        support=round(evidence.support, 4),
    )  # fmt: skip


def _hard_terms(sentence: str) -> list[set[str]]:
    """What may not be made up: numbers, code, names (a capital, but not that of the sentence's first word).

    Each as the forms it may take in a quote.
    """
    hard: list[set[str]] = []
    for index, found in enumerate(sentences.WORD.finditer(sentence)):
        word = found[0]
        is_opening = index == 0 and word.isalpha() and word[1:].islower()
        if HARD.search(word) and not is_opening and (forms := sentences.terms(word)):
            hard.append(forms)
    return hard


def _evidence(quote: _Quote, support: float) -> Evidence:
    return Evidence(
        hit=quote.hit,
        start=quote.start,
        end=quote.end,
        quote=quote.text,
        support=support,
        relevance=quote.relevance,
    )
