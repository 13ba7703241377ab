"""Search: the chunks of a scope that a question is nearest to, by meaning and by words.

scope -> view (chunks, vectors, words: of this tenant and version only)
question -> best by cosine + best by BM25 -> candidates -> one score each -> the best k
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pydantic

from mainspring.config import Config
from mainspring.knowledge.chunk import embed_text
from mainspring.knowledge.fuse import mix
from mainspring.knowledge.index.flat import FlatIndex
from mainspring.knowledge.lexical import LexicalIndex
from mainspring.knowledge.scope import Scope
from mainspring.knowledge.store import Store
from mainspring.protocols import Embedder
from mainspring.schema import Chunk, Hit

MAX_VIEWS = 4


class RetrieverSettings(Config):
    """How chunks are found and ranked."""

    lexical_weight: float = pydantic.Field(
        default=0.3, ge=0, le=1, description="Weight of word coverage in a hit's score; the rest is cosine."
    )
    num_candidates: int = pydantic.Field(
        default=30,
        ge=1,
        description="Chunks taken from each of the two searches before they are scored together.",
    )


@dataclass(frozen=True, slots=True)
class View:
    """What a tenant sees of a version: the chunks, one a row of both indexes, and all documents' titles."""

    version: int
    titles: dict[str, str]
    chunks: tuple[Chunk, ...]
    flat: FlatIndex
    lexical: LexicalIndex


class Retriever:
    """Searches a store through one embedder. Thread-safe.

    >>> retriever = Retriever(store, embedder)
    >>> retriever.search("Which license does it have?", Scope(), k=1)[0].chunk.document
    'license.md'
    """

    def __init__(self, store: Store, embedder: Embedder, settings: RetrieverSettings | None = None) -> None:
        self.store = store
        self.embedder = embedder
        self.settings = settings or RetrieverSettings()
        self._views: OrderedDict[tuple[str, int], View] = OrderedDict()
        self._lock = threading.Lock()

    def search(self, query: str, scope: Scope, k: int) -> list[Hit]:
        """The best `k` chunks in the scope, best first.

        A hit's score is between -1 and 1 and can be compared over questions; `why` has its parts.
        """
        return self.search_many([query], scope, k)[0]

    def search_many(self, queries: Sequence[str], scope: Scope, k: int) -> list[list[Hit]]:
        """`search` for many questions, embedded together."""
        if not queries:
            return []
        return self.rank(queries, self.embedder.embed(list(queries)), scope, k)

    def rank(self, queries: Sequence[str], vectors: np.ndarray, scope: Scope, k: int) -> list[list[Hit]]:
        """`search_many` for questions whose unit vectors are at hand, shape (queries, width)."""
        view = self.view(scope)
        scores = view.flat.scores(vectors)
        hidden = np.array([chunk.document in scope.without for chunk in view.chunks], dtype=bool)
        return [
            self._rank(view, query, cosines, hidden, k)
            for query, cosines in zip(queries, scores, strict=True)
        ]

    def view(self, scope: Scope) -> View:
        """What a scope sees, loaded once; nothing outside it is ever scored."""
        key = (scope.tenant, self.store.resolve(scope))
        with self._lock:
            if key not in self._views:
                self._views[key] = self._load(*key)
            self._views.move_to_end(key)
            while len(self._views) > MAX_VIEWS:
                self._views.popitem(last=False)
            return self._views[key]

    def _load(self, tenant: str, version: int) -> View:
        stored = self.store.chunks(Scope(tenant=tenant, version=version))
        chunks = tuple(entry.chunk for entry in stored)
        vectors = self.store.vectors([entry.content for entry in stored], self.embedder.fingerprint)
        texts = [embed_text(chunk.title, chunk.heading, chunk.text) for chunk in chunks]
        return View(
            version=version,
            titles={chunk.document: chunk.title for chunk in chunks},
            chunks=chunks,
            flat=FlatIndex(vectors),
            lexical=LexicalIndex(texts),
        )

    def _rank(self, view: View, query: str, cosines: np.ndarray, hidden: np.ndarray, k: int) -> list[Hit]:
        num = self.settings.num_candidates
        found = view.lexical.search(query, num + int(hidden.sum()))
        bm25 = dict([(row, score) for row, score in found if not hidden[row]][:num])
        nearest = [int(row) for row in np.argsort(-cosines, kind="stable") if not hidden[row]][:num]
        hits = []
        for row in sorted({*nearest, *bm25}):
            why = {
                "cosine": float(cosines[row]),
                "coverage": view.lexical.coverage(query, row),
                "bm25": bm25.get(row, 0.0),
            }
            score = mix(why["cosine"], why["coverage"], self.settings.lexical_weight)
            hits.append(Hit(chunk=view.chunks[row], score=score, why=why))
        return sorted(hits, key=lambda hit: (-hit.score, hit.chunk.id))[:k]
