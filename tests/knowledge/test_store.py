import numpy as np
import pytest

from fakes_knowledge import sources
from mainspring.errors import NotFoundError
from mainspring.knowledge.scope import Scope
from mainspring.knowledge.sync import IndexSettings, sync


def test_an_empty_store_says_what_to_do(store):
    assert store.latest() == 0
    with pytest.raises(NotFoundError, match="mainspring index"):
        store.documents(Scope())


def test_unknown_versions_and_documents_are_not_found(store, embedder):
    sync(store, sources(), embedder, IndexSettings())
    with pytest.raises(NotFoundError, match="versions 1 to 1, not 7"):
        store.chunks(Scope(version=7))
    with pytest.raises(NotFoundError, match="no document 'x'"):
        store.document("x", Scope())
    with pytest.raises(NotFoundError):
        store.document("tea.md", Scope(without=frozenset({"tea.md"})))


def test_vectors_come_back_bit_for_bit_in_the_order_asked(store):
    vectors = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    store.put_vectors(["a", "b", "c"], vectors, "e")
    assert np.array_equal(store.vectors(["c", "a", "c"], "e"), vectors[[2, 0, 2]])
    assert store.has_vectors(["a", "x"], "e") == {"a"}
    with pytest.raises(NotFoundError, match="1 of 2 chunks"):
        store.vectors(["a", "x"], "e")
    with pytest.raises(NotFoundError, match="Index again"):
        store.vectors(["a"], "another embedder")
