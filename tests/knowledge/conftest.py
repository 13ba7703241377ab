import pytest

from fakes_knowledge import HashEmbedder, sources
from mainspring.knowledge.retrieve import Retriever
from mainspring.knowledge.store import Store
from mainspring.knowledge.sync import IndexSettings, sync


@pytest.fixture
def embedder():
    return HashEmbedder()


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "knowledge.sqlite")
    yield store
    store.close()


@pytest.fixture
def retriever(store, embedder):
    sync(store, sources(), embedder, IndexSettings())
    return Retriever(store, embedder)
