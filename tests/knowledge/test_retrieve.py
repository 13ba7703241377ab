import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes_knowledge import NOTES, sources
from mainspring.knowledge.index.flat import FlatIndex
from mainspring.knowledge.lexical import LexicalIndex
from mainspring.knowledge.retrieve import Retriever, RetrieverSettings
from mainspring.knowledge.scope import Scope
from mainspring.knowledge.sync import IndexSettings, sync


def test_the_nearest_chunk_comes_first_and_its_score_says_how_near(retriever):
    near = retriever.search("When does the night train leave Vienna?", Scope(), k=2)
    assert near[0].chunk.document == "rail.md"
    far = retriever.search("Who painted the ceiling of the chapel?", Scope(), k=2)
    assert near[0].score > 0.5 > far[0].score
    weight = RetrieverSettings().lexical_weight
    why = near[0].why
    assert near[0].score == pytest.approx((1 - weight) * why["cosine"] + weight * why["coverage"])


def test_a_scope_decides_before_anything_is_scored(store, embedder):
    sync(store, sources(), embedder, IndexSettings())
    sync(store, sources({**NOTES, "rail.md": "# Rail\n\nNo trains any more."}), embedder, IndexSettings())
    sync(
        store,
        sources({"s.md": "The night train leaves Vienna in secret."}),
        embedder,
        IndexSettings(),
        tenant="b",
    )
    retriever = Retriever(store, embedder)
    question = "When does the night train leave Vienna?"

    def found(scope):
        return {hit.chunk.text for hit in retriever.search(question, scope, k=50)}

    assert any("21:40" in text for text in found(Scope(version=1)))
    assert not any("21:40" in text for text in found(Scope()))
    assert not any("secret" in text for text in found(Scope()))
    assert found(Scope(tenant="b")) == {"The night train leaves Vienna in secret."}
    without = retriever.search(question, Scope(version=1, without=frozenset({"rail.md"})), k=50)
    assert {hit.chunk.document for hit in without} == {"tea.md", "bread.rst"}
    assert found(Scope(tenant="nobody")) == set()


def test_many_questions_give_what_each_gives_alone(retriever):
    questions = ["Where to keep tea?", "How long does rye bread rest?", ""]
    together = retriever.search_many(questions, Scope(), 3)
    assert [[hit.chunk.id for hit in hits] for hits in together] == [
        [hit.chunk.id for hit in retriever.search(question, Scope(), 3)] for question in questions
    ]


def test_the_flat_index_is_exact():
    rng = np.random.default_rng(0)
    vectors, queries = rng.standard_normal((40, 8)), rng.standard_normal((3, 8))
    assert np.allclose(FlatIndex(vectors).scores(queries), queries @ vectors.T, atol=1e-5)
    assert FlatIndex(np.zeros((0, 0))).scores(queries).shape == (3, 0)


INDEX = LexicalIndex(["alpha beta", "gamma NEAR delta"])


@given(st.text(max_size=40))
def test_any_text_is_a_safe_query(text):
    assert len(INDEX.search(text, 5)) <= 2


@pytest.mark.parametrize(
    "query", ['"', "a AND", "x OR (", "NEAR/2", "text:alpha", "alpha*", "-alpha", "'; DROP TABLE texts"]
)
def test_query_syntax_has_no_power(query):
    index = LexicalIndex(["alpha beta", "gamma NEAR delta"])
    index.search(query, 5)
    assert [row for row, _ in index.search("alpha", 5)] == [0]


def test_coverage_is_the_weighted_share_of_the_questions_words():
    index = LexicalIndex(["alpha beta", "beta gamma", "beta delta"])
    assert index.coverage("alpha beta", 0) == pytest.approx(1.0)
    assert 0 < index.coverage("alpha beta", 1) < 0.5
    assert index.coverage("omega", 0) == 0.0
