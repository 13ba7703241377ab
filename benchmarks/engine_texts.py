"""What the engine's benchmark asks: a passage that many prompts share, texts to be copied, ordinary questions."""

import random
from pathlib import Path

from mainspring import chat
from mainspring.evaluate.load.mix import WORDS
from mainspring.infer.request import Request
from mainspring.schema import Message, Sampling
from mainspring.tokenizer.base import Tokenizer

QUESTIONS = (
    "Why do the leaves of many trees turn red in autumn?",
    "Give me three ideas for a birthday present for my father, who likes to cook.",
    "Explain in simple words what a mortgage is.",
    "Write a short poem about a lighthouse in winter.",
    "What should I pay attention to when I buy a used bicycle?",
    "Tell me a story about a fox that is afraid of the dark.",
    "How can I learn the names of people whom I have just met?",
    "What is the difference between weather and climate?",
)
SUBJECTS = ("The miller", "A young clerk", "My aunt", "The ferryman", "An old teacher", "The baker's son")
VERBS = ("keeps", "sells", "repairs", "paints", "counts", "carries", "hides", "remembers")
THINGS = ("small boats", "brass clocks", "wooden chairs", "letters", "glass lamps", "grey horses", "maps")
PLACES = ("by the river", "behind the church", "in the upper town", "near the old bridge", "under the roof")
NAMES = ("price", "weight", "count", "height", "length", "speed", "volume", "score", "level", "amount")


def passage(chance: random.Random, num_sentences: int) -> str:
    """Sentences that are sound but that nobody has written before."""
    parts = (SUBJECTS, VERBS, THINGS, PLACES)
    return " ".join(
        f"{' '.join(chance.choice(part) for part in parts)} and {chance.choice(VERBS)} {chance.choice(THINGS)}."
        for _ in range(num_sentences)
    )


def code(chance: random.Random, num_functions: int) -> str:
    """Functions in Python that differ in names and numbers."""
    return "\n\n".join(
        f"def add_{first}(items, {second}):\n    total = {chance.randrange(100)}\n    for item in items:\n"
        f"        total += item.{first} * {second} + {chance.randrange(100)}\n    return total"
        for first, second in (chance.sample(NAMES, 2) for _ in range(num_functions))
    )


def copying(number: int, tokenizer: Tokenizer) -> Request:
    """To repeat a passage, or to write code again; the reply is greedy."""
    chance = random.Random(number)
    text = (
        f"Repeat this text word for word:\n\n{passage(chance, 8)}"
        if number % 2
        else f"Write this code again with a comment above each function:\n\n```python\n{code(chance, 3)}\n```"
    )
    return asking(text, tokenizer, Sampling(max_tokens=160))


def question(number: int, tokenizer: Tokenizer, temperature: float) -> Request:
    sampling = Sampling(max_tokens=96, temperature=temperature, seed=number)
    return asking(QUESTIONS[number % len(QUESTIONS)], tokenizer, sampling)


def asking(text: str, tokenizer: Tokenizer, sampling: Sampling) -> Request:
    ids = chat.render([Message("user", text)], tokenizer, open_reply=True).ids
    return Request(ids=tuple(ids), sampling=sampling, end_ids=tokenizer.end_ids)


def words(chance: random.Random, num_ids: int, tokenizer: Tokenizer) -> tuple[int, ...]:
    """So many ids of random words."""
    return tuple(tokenizer.encode(" ".join(chance.choices(WORDS, k=num_ids)))[:num_ids])


def documents(folder: Path) -> str:
    """The text of all Markdown files, for a perplexity."""
    return "\n\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.md")))
