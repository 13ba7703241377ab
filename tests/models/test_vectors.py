"""Word vectors: the loss beside its formula, and what they are for."""

import random

import pytest
import torch

from mainspring.errors import DocumentError, NotFoundError, WeightsError
from mainspring.models import vectors
from mainspring.models.vectors import VectorSettings, WordVectors, train

CITIES = {"paris": "france", "rome": "italy", "oslo": "norway", "lima": "peru", "cairo": "egypt"}


def corpus(count=4000, seed=0):
    """Capitals and countries in sentences of two kinds, so that the difference between them is one direction."""
    generator = random.Random(seed)
    lines = []
    for _ in range(count):
        city, country = generator.choice(list(CITIES.items()))
        lines.append(f"the mayor of {city} opened a museum in the town of {city} {country[:3]}x".split())
        lines.append(
            f"the president of {country} signed a treaty for the nation {country} {country[:3]}x".split()
        )
    return lines


def test_the_loss_is_that_of_the_paper():
    generator = torch.Generator().manual_seed(0)
    center, true, noise = (torch.randn(*shape, generator=generator) for shape in ((3, 5), (3, 5), (3, 2, 5)))
    expected = 0.0
    for b in range(3):
        expected -= torch.log(torch.sigmoid(center[b] @ true[b]))
        for n in range(2):
            expected -= torch.log(torch.sigmoid(-center[b] @ noise[b, n]))
    torch.testing.assert_close(vectors._loss(center, true, noise), expected)


def test_pairs_are_words_within_reach_of_each_other():
    torch.manual_seed(0)
    line = torch.arange(30)
    pairs = vectors._pairs([line, torch.tensor([40, 41])], torch.ones(50), window=3)
    distance = (pairs[:, 0] - pairs[:, 1]).abs()
    assert distance.min() == 1
    assert distance.max() == 3
    assert {(a, b) for a, b in pairs.tolist() if a >= 40} == {(40, 41), (41, 40)}
    assert (distance == 1).sum() > (distance == 3).sum()


@pytest.mark.slow
def test_words_of_a_kind_lie_together_and_analogies_hold():
    made = train(corpus(), VectorSettings(width=24, epochs=3, min_count=1, thin=0.05, window=4, batch=1024))
    near = [word for word, _ in made.near("paris", 4)]
    assert len(set(near) & set(CITIES)) >= 3
    right = sum(made.analogy(a, CITIES[a], c, 1)[0][0] == CITIES[c] for a in CITIES for c in CITIES if a != c)
    assert right >= 15


def test_training_is_repeatable_and_leaves_the_callers_random_numbers_alone():
    settings = VectorSettings(width=8, epochs=1, min_count=1)
    torch.manual_seed(5)
    first = train(corpus(50), settings).vectors_VD
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.rand(1) == after
    assert torch.equal(train(corpus(50), settings).vectors_VD, first)


def test_vectors_are_saved_and_read_back(tmp_path):
    made = WordVectors(["up", "down"], torch.eye(2))
    made.save(tmp_path / "v")
    again = WordVectors.load(tmp_path / "v")
    assert again.words == made.words
    assert again.near("up", 5) == [("down", 0.0)]


def test_unknown_words_too_little_text_and_no_vectors_are_told(tmp_path):
    with pytest.raises(NotFoundError, match="'left' is none of the 2 words"):
        WordVectors(["up", "down"], torch.eye(2)).near("left", 1)
    with pytest.raises(DocumentError, match="0 of 2 words were seen 5 times"):
        train([["one", "two"]], VectorSettings())
    with pytest.raises(WeightsError, match="holds no word vectors"):
        WordVectors.load(tmp_path)
