"""Texts said in other words by a chat model, and the original wherever the model cannot be trusted.

A paraphrase is taken only if it is whole, about as long, different, and holds every number and every word with a
capital of the original, function words aside. Otherwise the model is asked again, a little more freely each time,
and in the end there is none: what is made up must never be learnt for the sake of variety.
"""

import re
from collections import Counter
from collections.abc import Sequence

import pydantic

from mainspring.config import Config
from mainspring.data.augment.base import Changed
from mainspring.data.augment.pronouns import CLOSED
from mainspring.data.document import stable_hash
from mainspring.protocols import ChatModel
from mainspring.schema import Message, Reply, Sampling

PROMPT = (
    "Say the text below in other words. Keep its meaning, its language, every number and every name. Answer with the "
    "new text alone.\n\n"
)
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
NAME = re.compile(r"\b[A-Z][\w\u2019'-]+")
LABEL = re.compile(r"^(?:paraphrase|new text|text)\s*:\s*", re.IGNORECASE)
QUOTES = (('"', '"'), ("\u201c", "\u201d"), ("'", "'"))


class Settings(Config):
    """How a model is asked, and which of its answers are taken."""

    attempts: int = pydantic.Field(
        default=2, ge=1, description="How often a text is asked for, until one is taken."
    )
    temperature: float = pydantic.Field(
        default=0.7,
        ge=0,
        description="Of every attempt behind the first, which is greedy for the first copy.",
    )
    max_tokens: int = pydantic.Field(
        default=512, ge=1, description="Of an answer; one that is cut is not taken."
    )
    min_length: float = pydantic.Field(
        default=0.5, ge=0, description="Words of an answer, by those of the text."
    )
    max_length: float = pydantic.Field(default=2.0, gt=0, description="The same, at most.")
    seed: int = pydantic.Field(default=0, ge=0, description="Another seed gives other answers.")


class Paraphrase:
    """Asks a chat model for paraphrases, many at once."""

    name = "paraphrase"
    roles: tuple[str, ...] = ("user",)

    def __init__(self, settings: Settings, model: ChatModel) -> None:
        self._settings, self._model = settings, model

    def __call__(self, texts: Sequence[str], keys: Sequence[str], copy: int) -> list[Changed]:
        found = [Changed(reason="empty") for _ in texts]
        waiting = [number for number, text in enumerate(texts) if text.strip()]
        for attempt in range(self._settings.attempts):
            if not waiting:
                break
            replies = self._ask([texts[number] for number in waiting], keys[waiting[0]], copy, attempt)
            for number, reply in zip(waiting, replies, strict=True):
                found[number] = self._judge(texts[number], reply)
            waiting = [number for number in waiting if found[number].text is None]
        return found

    def _ask(self, texts: Sequence[str], key: str, copy: int, attempt: int) -> list[Reply]:
        conversations = [[Message("user", PROMPT + text)] for text in texts]
        is_first = attempt == 0 and copy == 1
        sampling = Sampling(
            temperature=0.0 if is_first else self._settings.temperature,
            max_tokens=self._settings.max_tokens,
            seed=None
            if is_first
            else stable_hash(f"{self._settings.seed}\0{key}\0{copy}\0{attempt}") % 2**31,
        )
        return self._model.replies(conversations, sampling)

    def _judge(self, text: str, reply: Reply) -> Changed:
        answer = _bare(reply.text)
        reason = "cut" if reply.finish_reason != "stop" else self.why_not(text, answer)
        return Changed(reason=reason) if reason else Changed(text=answer)

    def why_not(self, text: str, answer: str) -> str:
        """Why an answer is no paraphrase of a text, "" if it may be one."""
        words, limits = len(text.split()), (self._settings.min_length, self._settings.max_length)
        if not answer:
            return "empty"
        if not limits[0] * words <= len(answer.split()) <= limits[1] * words:
            return "too different in length"
        if answer.casefold().split() == text.casefold().split():
            return "the same again"
        if Counter(NUMBER.findall(text)) != Counter(NUMBER.findall(answer)):
            return "numbers lost"
        return "names lost" if names_of(text) - _words(answer) else ""


def names_of(text: str) -> set[str]:
    """Words with a capital, in lower case, without function words; what begins a sentence may be one, so it counts."""
    return {_stem(name) for name in NAME.findall(text) if not {name.lower(), _stem(name)} & CLOSED}


def _words(text: str) -> set[str]:
    return {_stem(word) for word in re.findall(r"[\w\u2019'-]+", text)}


def _stem(word: str) -> str:
    """A word in lower case, without its possessive or what is drawn together with it."""
    return re.split(r"['\u2019]", word.lower(), maxsplit=1)[0]


def _bare(answer: str) -> str:
    """An answer without the label and the quotes that models like to put around it."""
    bare = LABEL.sub("", answer.strip())
    for opening, closing in QUOTES:
        inner = bare[1:-1]
        if len(bare) > 1 and bare[0] == opening and bare[-1] == closing and opening not in inner:
            return inner.strip()
    return bare
