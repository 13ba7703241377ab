"""What a load consists of: requests whose lengths are those of real questions and answers.

The lengths are deciles in tokens of SmolLM2's tokenizer, taken from public data: questions and reference answers of
MT-Bench, Vicuna-Bench and Self-Instruct's user instructions (chat), paragraphs, questions and answers of XQuAD (rag).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

CHAT_PROMPT = (9, 14, 17, 20, 23, 27, 34, 42, 62, 121, 392)
CHAT_ANSWER = (1, 6, 12, 22, 34, 47, 65, 96, 163, 239, 804)
PARAGRAPH = (35, 98, 117, 128, 140, 152, 162, 186, 210, 264, 625)
QUESTION = (4, 8, 9, 11, 11, 12, 13, 14, 16, 18, 35)
EXTRACT = (1, 2, 2, 3, 3, 4, 4, 5, 6, 9, 41)
NUM_PARAGRAPHS = 5
SHARED_TOKENS = 1536
TOKENS_A_WORD = 1.1
MAX_ANSWER = 256
TEXT = (
    "time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system program question work government number night point home water room "
    "mother area money story fact month lot right study book eye job word business issue side kind head house "
    "service friend father power hour game line end member law car city community name president team minute idea "
    "body information back parent face others level office door health person art war history party result change "
    "morning reason research girl guy moment air teacher force education"
)
WORDS = tuple(TEXT.split())

MixName = Literal["chat", "rag", "shared-prefix"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: its text and how many tokens the answer is to have, no more and no less."""

    text: str
    max_tokens: int


def requests(mix: MixName, seed: int) -> Iterator[Asked]:
    """Requests of a mix without end; equal seeds give equal ones."""
    chance = random.Random(seed)  # noqa: S311 - a load, not a secret
    shared = _words(random.Random("shared"), SHARED_TOKENS)  # noqa: S311 - as above
    while True:
        if mix == "rag":
            text = " ".join(_words(chance, _draw(chance, PARAGRAPH)) for _ in range(NUM_PARAGRAPHS))
            yield Asked(
                text=f"{text}\n\n{_words(chance, _draw(chance, QUESTION))}?",
                max_tokens=_draw(chance, EXTRACT),
            )
            continue
        question, answer = (
            _words(chance, _draw(chance, CHAT_PROMPT)),
            min(_draw(chance, CHAT_ANSWER), MAX_ANSWER),
        )
        yield Asked(text=f"{shared}\n\n{question}" if mix == "shared-prefix" else question, max_tokens=answer)


def _draw(chance: random.Random, deciles: tuple[int, ...]) -> int:
    """A length: uniform within a decile that is drawn."""
    place = chance.randrange(len(deciles) - 1)
    return max(chance.randint(deciles[place], deciles[place + 1]), 1)


def _words(chance: random.Random, num_tokens: int) -> str:
    return " ".join(chance.choices(WORDS, k=max(round(num_tokens / TOKENS_A_WORD), 1)))
