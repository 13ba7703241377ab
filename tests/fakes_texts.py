"""Texts that nobody wrote, with the letters, scripts and accidents of those that people write."""

import random

SYLLABLES = "the ri ver win ter sto ne mor ning of a to ha rbour li ght and wa tch spr ing whe el".split()  # noqa: SIM905
STRANGE = (
    "漢字かな交じり文", "한국어", "العربية", "naïve café", "e\u0301", "\u200b\u00a0", "\ufffd", "\t", "\r\n",
    "😀\U0001f469\u200d\U0001f469\u200d\U0001f467\U0001f3f3\ufe0f\u200d\U0001f308", "  ", "<|im_end|>", "[MASK]",
    "it's", "x[0]**2", "3.14159", "2024-01-31", "ß", "İ", "ﬁ", "Ω≈ç√", "\U0001f9ff",
)  # fmt: skip


def word(generator):
    text = "".join(generator.choices(SYLLABLES, k=generator.randint(1, 3)))
    return text.capitalize() if generator.random() < 0.15 else text


def sentence(generator):
    parts = [word(generator) for _ in range(generator.randint(3, 14))]
    if generator.random() < 0.3:
        parts.insert(generator.randrange(len(parts)), generator.choice(STRANGE))
    return " ".join(parts) + generator.choice([".", "?", "!", "...", "\n"])


def many_texts(count, seed):
    """`count` texts of one to eight sentences, the same ones for the same seed."""
    generator = random.Random(seed)
    return [" ".join(sentence(generator) for _ in range(generator.randint(1, 8))) for _ in range(count)]
