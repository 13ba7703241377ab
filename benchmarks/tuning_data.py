"""People's data for benchmarks/tuning.py: worked problems, and pairs of answers with the better one first."""

import gzip
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from mainspring.schema import Message, Role
from mainspring.tokenizer.base import Tokenizer

Pair = tuple[list[Message], list[Message]]
TURN = re.compile(r"\n\n(Human|Assistant): ")
ROLES: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}


def problems(folder: Path) -> list[list[Message]]:
    """Question and worked answer, without the marks that a calculator would read."""
    lines = (folder / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [
        [Message("user", each["question"]), Message("assistant", re.sub(r"<<.*?>>", "", each["answer"]))]
        for each in found
    ]


def split_problems(folder: Path, num_held: int, num_trained: int) -> tuple[list, list]:
    """What is trained on, and what is held out."""
    shuffled = problems(folder)
    random.Random(0).shuffle(shuffled)
    return shuffled[num_held : num_held + num_trained], shuffled[:num_held]


def split_pairs(
    folder: Path, tokenizer: Tokenizer, *, prompt_tokens: int, answer_tokens: int, share: float
) -> tuple[list[Pair], list[Pair]]:
    """Pairs that are short enough: trained on and held out, of which none begins with the same question.

    Args:
        folder: of the data.
        tokenizer: counts.
        prompt_tokens: the oldest turns of a longer conversation are left out; if that is not enough, the pair is.
        answer_tokens: pairs with a longer answer are left out.
        share: of the conversations, held out.

    """
    openings: dict[str, list[Pair]] = {}
    for chosen, rejected in _pairs(folder):
        answers = max(_num_tokens(side[-1:], tokenizer) for side in (chosen, rejected))
        prompt = _newest(chosen[:-1], tokenizer, prompt_tokens)
        if prompt and answers <= answer_tokens:
            pair = ([*prompt, chosen[-1]], [*prompt, rejected[-1]])
            openings.setdefault(chosen[0].content, []).append(pair)
    keys = sorted(openings)
    random.Random(0).shuffle(keys)
    num_held = round(share * len(keys))
    held, trained = (
        [pair for key in part for pair in openings[key]] for part in (keys[:num_held], keys[num_held:])
    )
    return trained, held


def as_question(messages: list[Message]) -> list[Message]:
    """The turns before the answer as one message, which is how a reward model reads a prompt."""
    return [Message("user", "\n\n".join(each.content for each in messages[:-1])), messages[-1]]


def _pairs(folder: Path) -> Iterator[Pair]:
    with gzip.open(folder / "hh-rlhf-harmless" / "pairs.dev.jsonl.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            pair = json.loads(line)
            chosen, rejected = _messages(pair["chosen"]), _messages(pair["rejected"])
            if (
                _is_answered(chosen)
                and _is_answered(rejected)
                and chosen[:-1] == rejected[:-1]
                and chosen != rejected
            ):
                yield chosen, rejected


def _is_answered(messages: list[Message]) -> bool:
    return len(messages) > 1 and messages[-1].role == "assistant"


def _messages(text: str) -> list[Message]:
    _, *parts = TURN.split(text)
    turns = [Message(ROLES[role], said.strip()) for role, said in zip(parts[::2], parts[1::2], strict=True)]
    return turns if all(turn.content for turn in turns) else []


def _newest(prompt: list[Message], tokenizer: Tokenizer, max_tokens: int) -> list[Message]:
    """As many of the last turns as fit, a question first; none if not even the last question does."""
    for at, message in enumerate(prompt):
        if message.role == "user" and _num_tokens(prompt[at:], tokenizer) <= max_tokens:
            return prompt[at:]
    return []


def _num_tokens(messages: list[Message], tokenizer: Tokenizer) -> int:
    return sum(len(tokenizer.encode(each.content)) for each in messages)
