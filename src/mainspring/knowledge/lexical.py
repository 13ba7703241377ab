"""Search by words: BM25 of SQLite's FTS5 over one version, and how much of a question a text covers.

Held in memory for a view, so that the statistics of words come from what the asker may see and from nothing
else.
"""

import math
import sqlite3
import threading
from collections import Counter
from collections.abc import Sequence

from mainspring.knowledge import sentences


class LexicalIndex:
    """Word search over texts, which are named by their place."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._connection.execute(
            "CREATE VIRTUAL TABLE texts USING fts5(text, content='', tokenize='porter unicode61')"
        )
        self._connection.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", enumerate(texts))
        self._terms = [sentences.terms(text) for text in texts]
        counts = Counter(term for terms in self._terms for term in terms)
        self._idf = {term: math.log(1 + len(texts) / count) for term, count in counts.items()}
        self._rarest = math.log(1 + len(texts))

    def search(self, query: str, k: int) -> list[tuple[int, float]]:
        """The best rows and their BM25 scores (higher is better); any text is a safe query."""
        words = list(dict.fromkeys(sentences.words(query)))
        telling = [word for word in words if word not in sentences.STOP] or words
        if not telling:
            return []
        match = " OR ".join('"' + word.replace('"', "") + '"' for word in telling)
        with self._lock:
            rows = self._connection.execute(
                "SELECT rowid, -bm25(texts) FROM texts WHERE texts MATCH ? ORDER BY 2 DESC, 1 LIMIT ?",
                (match, k),
            ).fetchall()
        return [(row, float(score)) for row, score in rows]

    def coverage(self, query: str, row: int) -> float:
        """The share of the question's telling words that a row holds, weighted by rarity; 0 to 1."""
        asked = sentences.terms(query)
        total = sum(self.idf(term) for term in asked)
        return sum(self.idf(term) for term in asked & self._terms[row]) / total if total else 0.0

    def idf(self, term: str) -> float:
        """How much a term tells; one that no text holds tells most."""
        return self._idf.get(term, self._rarest)
