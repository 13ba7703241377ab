"""Weights beside scikit-learn's, grammar beside what any reader sees."""

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from fakes_bpe import make_tokenizer
from fakes_texts import many_texts
from mainspring.tokenizer.classic import TfIdf, parse, tree

CORPUS = many_texts(60, seed=4)


@pytest.mark.parametrize("text", [CORPUS[3], CORPUS[17], "river river unheard word"])
def test_weights_equal_those_of_scikit_learn(text):
    theirs = TfidfVectorizer().fit(CORPUS)
    row = theirs.transform([text]).toarray()[0]
    expected = {word: row[place] for word, place in theirs.vocabulary_.items() if row[place]}
    ours = TfIdf(CORPUS).weights(text)
    known = {word: weight for word, weight in ours.items() if word in theirs.vocabulary_}
    length = sum(weight**2 for weight in known.values()) ** 0.5
    assert {word: weight / length for word, weight in known.items()} == pytest.approx(expected)
    assert list(ours.values()) == sorted(ours.values(), reverse=True)


@pytest.mark.slow
def test_a_sentence_is_tagged_and_every_id_belongs_to_its_word():
    text = "Ada Lovelace wrote the first program in London."
    tokenizer = make_tokenizer()
    found = parse(text, tokenizer)
    by_text = {word.text: word for word in found}
    assert by_text["wrote"].part == "VERB"
    assert by_text["wrote"].lemma == "write"
    assert by_text["London"].entity == "GPE"
    assert found[by_text["Lovelace"].head].text == "wrote"
    assert by_text["Lovelace"].relation == "nsubj"
    in_words = {token_id for word in found for token_id in word.ids}
    assert in_words | set(tokenizer.encode(" ")) == set(tokenizer.encode(text))
    lines = tree(found)
    assert lines[0] == "wrote (ROOT)"
    assert "  Lovelace (nsubj)" in lines
    assert len(lines) == len(found)
