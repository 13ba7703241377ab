"""Documents made from a seed, the same on every machine, with planted duplicates: nothing is downloaded."""

from collections.abc import Sequence

import numpy as np

NUM_WORDS = 50_000
MEDIAN_WORDS, SPREAD = 220, 0.7
WORDS_A_SENTENCE = 14
LETTERS = "etaoinshrdlcumwfgypbvk"
ACCENTED = str.maketrans("aeou", "äéöü")
PART_FOREIGN, PART_EXACT, PART_NEAR = 0.05, 0.05, 0.15
MAX_PART_EDITED = 0.08


def make_texts(count: int, seed: int) -> list[str]:
    """Texts of words as often as in natural language (Zipf), with sentences, numbers, accents in some of them.

    One in twenty is an exact copy of an earlier one, three in twenty are copies with up to 8 % of their words
    replaced, left out or added.
    """
    random = np.random.default_rng(seed)
    words = _vocabulary(random)
    chances = np.cumsum(1 / np.arange(2.7, NUM_WORDS + 2.7))
    chances /= chances[-1]
    made: list[list[str]] = []
    for kind in random.random(count):
        if made and kind < PART_EXACT + PART_NEAR:
            source = made[random.integers(len(made))]
            made.append(source if kind < PART_EXACT else _edited(source, words, random))
        else:
            length = max(1, int(MEDIAN_WORDS * random.lognormal(0, SPREAD)))
            chosen = np.searchsorted(chances, random.random(length))
            made.append(_sentences([words[each] for each in chosen], random))
    foreign = random.random(count) < PART_FOREIGN
    joined = (" ".join(text) for text in made)
    return [
        text.translate(ACCENTED) if is_foreign else text
        for text, is_foreign in zip(joined, foreign, strict=True)
    ]


def _vocabulary(random: np.random.Generator) -> list[str]:
    """Words, the frequent ones shorter; one in forty a number."""
    lengths = 2 + random.poisson(np.minimum(1.2 * np.log10(np.arange(1, NUM_WORDS + 1)), 6))
    letters = np.array(list(LETTERS))[np.minimum(random.geometric(0.1, lengths.sum()) - 1, len(LETTERS) - 1)]
    ends = np.cumsum(lengths)
    words = ["".join(letters[end - length : end]) for end, length in zip(ends, lengths, strict=True)]
    for place in range(40, NUM_WORDS, 40):
        words[place] = f"{random.integers(1, 3000)}" if place % 80 else f"{random.random() * 100:.2f}"
    return words


def _sentences(words: list[str], random: np.random.Generator) -> list[str]:
    """Capitals, full stops, commas and line breaks."""
    written = list(words)
    position = 0
    while position < len(written):
        end = min(position + int(random.integers(4, 2 * WORDS_A_SENTENCE)), len(written)) - 1
        written[position] = written[position].capitalize()
        written[(position + end) // 2] += ","
        written[end] += ".\n\n" if random.random() < 0.15 else "."
        position = end + 1
    return written


def _edited(source: Sequence[str], words: Sequence[str], random: np.random.Generator) -> list[str]:
    changed: list[str] = []
    part = random.random() * MAX_PART_EDITED
    for word, chance in zip(source, random.random(len(source)), strict=True):
        if chance > part:
            changed.append(word)
        elif chance < part / 3:
            changed.append(words[random.integers(NUM_WORDS)])
        elif chance < 2 * part / 3:
            changed += [word, words[random.integers(NUM_WORDS)]]
    return changed
