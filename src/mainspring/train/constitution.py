"""A model corrects itself by written principles: answers revised (lessons) and compared (pairs), for review.

    prompt -> answer -> critique by a drawn principle -> revision          the lesson
           -> another answer -> which follows the principle better?        the pair, asked in both orders

Paper: arXiv:2212.08073, sections 3.1 and 4.1. Changed: a comparison is asked with the answers in both orders, and
what does not agree is dropped, in place of probabilities of the two letters.
"""

import random
import re
from collections.abc import Callable, Generator, Sequence
from difflib import SequenceMatcher
from importlib import resources
from pathlib import Path
from typing import Any, Self

import msgspec
import yaml
from pydantic import Field

from mainspring import artifact as artifacts
from mainspring.artifact import Artifact
from mainspring.errors import ConfigError, UserError
from mainspring.protocols import ChatModel
from mainspring.registry import Registry
from mainspring.runs import Run, Runs
from mainspring.schema import Message, Reply, Sampling
from mainspring.train.generate import (
    Ask,
    Asking,
    GenerateConfig,
    Made,
    Procedure,
    Prompt,
    Talk,
    begun,
    generate,
)
from mainspring.train.review import LESSONS, REVIEW, TO_REVIEW

KIND = "constitution"
CRITIQUE = "Here is a principle: {principle}\nSay briefly in what way your last answer does not follow this principle."
REVISE = "Write your answer again so that it follows the principle. Give the new answer alone."
COMPARE = (
    "Here is a conversation, and two answers to its last message.\n\n{conversation}\n\nAnswer A: {a}\n\n"
    "Answer B: {b}\n\n"
    "Here is a principle: {principle}\nWhich answer follows this principle better? Say A or B and nothing else."
)
VERDICT = re.compile(r"^\W*(?:answer\W+)?([AB])(?:\W*$|\s*[:.)]|\s+is\b)", re.IGNORECASE)
ALIKE = (
    0.8  # of its characters, in order, that a revision may have from the critique: weak models say that again
)
MAX_VERDICT = 4  # tokens
STEPS = "steps.jsonl"


class ConstitutionConfig(GenerateConfig):
    """What a model is asked to correct, by what, and how often."""

    principles: tuple[str, ...] | Path | None = Field(
        default=None,
        description="sentences, or a file of them: a YAML list or a text of one a line; none: the package's own",
    )
    revisions: int = Field(
        default=1, ge=0, description="critiques and revisions of an answer; 0 makes no lessons"
    )
    compare: bool = Field(default=True, description="make pairs, too")

    def pinned(self, registry: Registry) -> Self:
        """With its principles written out, too."""
        found = tuple(read_principles(self.principles))
        return super().pinned(registry).model_copy(update={"principles": found})


def read_principles(given: tuple[str, ...] | Path | None) -> list[str]:
    """Principles, one a sentence: those given, of a file, or the package's own.

    Raises:
        ConfigError: a file that cannot be read, or holds none.

    """
    if isinstance(given, tuple):
        return list(given)
    path = given
    own = resources.files("mainspring.train").joinpath("principles.txt")
    try:
        text = own.read_text(encoding="utf-8") if path is None else path.read_text(encoding="utf-8")
        is_yaml = path is not None and path.suffix in (".yaml", ".yml")
        found = yaml.safe_load(text) if is_yaml else text.splitlines()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"The principles {path} cannot be read ({error}). Give a YAML list or a text."
        ) from error
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ConfigError(f"{path} is no list of sentences. Write one principle a line, each behind '- '.")
    kept = [each.strip() for each in found if each.strip() and not each.startswith("#")]
    if not kept:
        raise ConfigError(f"{path} holds no principles; at least one is needed.")
    return kept


def constitute(
    registry: Registry,
    runs: Runs,
    config: ConstitutionConfig | None,
    open_model: Callable[[str, str | None], ChatModel],
    *,
    resume: str | None = None,
) -> tuple[list[Artifact], Run, list[Made]]:
    """Make lessons and pairs, or go on with a run that was stopped; nothing can be learnt from them unreviewed.

    Raises:
        UserError: nothing was worth keeping.

    """
    with begun(registry, runs, KIND, config, ConstitutionConfig, resume=resume) as began:
        run, settings, prompts, journal = began
        principles = read_principles(settings.principles)  # those that it began with
        model = open_model(settings.model, settings.adapter)
        made = generate(
            prompts, lambda prompt: _correct(prompt, settings, principles), model, journal, at_once=settings.at_once
        )  # fmt: skip
        facts = {"prompts": run.config["prompts"], "run": run.id}
        lessons, pairs = [each for each in made if each.lesson], [each for each in made if each.pair]
        kept = _keep(registry, settings, settings.name, lessons, facts)
        kept += _keep(registry, settings, f"{settings.name}-pairs", pairs, facts)
        if not kept:
            reasons = sorted({reason for each in made for reason in each.dropped})
            raise UserError(f"Nothing of {len(made)} prompts was worth keeping: {'; '.join(reasons)}.")
    return kept, runs.end(run.id, "done", {each.name: each.reference for each in kept}), made


def _correct(prompt: Prompt, config: ConstitutionConfig, principles: Sequence[str]) -> Procedure:
    """One prompt: answered, revised, compared."""
    draw = random.Random(f"{config.seed}/{prompt.number}")  # noqa: S311 - a choice, not a secret
    drawn = [draw.choice(principles) for _ in range(config.revisions + 1)]
    talk = Talk(prompt, config)
    answer = yield from talk.ask("answer", prompt.messages)
    revised = (yield from _revise(talk, answer, drawn[:-1])) if answer and config.revisions else ""
    pair = (yield from _compare(talk, answer, drawn[-1])) if answer and config.compare else ()
    return Made(
        prompt=prompt, steps=tuple(talk.steps), principles=tuple(drawn), pair=pair, dropped=tuple(talk.dropped),
        lesson=(*prompt.messages, Message("assistant", revised)) if revised else (),
    )  # fmt: skip


def _revise(talk: Talk, answer: str, principles: Sequence[str]) -> Asking:
    """The answer after a critique and a revision by each principle, "" where one of them failed."""
    for number, principle in enumerate(principles, 1):
        asked = Message("user", CRITIQUE.format(principle=principle))
        so_far = (*talk.prompt.messages, Message("assistant", answer), asked)
        critique = yield from talk.ask(f"critique {number}", so_far)
        if not critique:
            return ""
        so_far = (*so_far, Message("assistant", critique), Message("user", REVISE))
        answer = yield from talk.ask(f"revision {number}", so_far)
        if not answer:
            return ""
        if SequenceMatcher(None, critique, answer, autojunk=False).ratio() > ALIKE:
            talk.dropped.append(f"the revision {number} repeats the critique")
            return ""
    return answer


def _compare(talk: Talk, first: str, principle: str) -> Generator[Ask, Reply, tuple[str, ...]]:
    """The better and the worse of two answers, if the model says the same whichever of them stands first."""
    second = yield from talk.ask("second answer", talk.prompt.messages)
    if not second:
        return ()
    if first == second:
        talk.dropped.append("both answers are the same")
        return ()
    conversation = "\n\n".join(f"{each.role}: {each.content}" for each in talk.prompt.messages)
    chosen: list[str] = []
    for a, b in ((first, second), (second, first)):
        asked = COMPARE.format(conversation=conversation, a=a, b=b, principle=principle)
        reply = yield from talk.hear("comparison", [Message("user", asked)], Sampling(max_tokens=MAX_VERDICT))
        verdict = VERDICT.match(reply.text)
        chosen.append({"A": a, "B": b}[verdict[1].upper()] if verdict else "")
    if not all(chosen):
        talk.dropped.append("a comparison named neither A nor B")
        return ()
    if chosen[0] != chosen[1]:
        talk.dropped.append("the comparison changed with the order of the answers")
        return ()
    return (first, second) if chosen[0] == first else (second, first)


def _keep(
    registry: Registry, config: ConstitutionConfig, name: str, made: Sequence[Made], facts: dict[str, Any]
) -> list[Artifact]:
    """A dataset of what was made, with all that was said on the way; none of nothing."""
    if not made:
        return []

    def fill(folder: Path) -> None:
        encode = msgspec.json.Encoder().encode_lines
        (folder / LESSONS).write_bytes(encode([_line(each, is_pair=name != config.name) for each in made]))
        (folder / STEPS).write_bytes(encode(made))
        (folder / REVIEW).write_text(_review(name, made), encoding="utf-8")

    said = {**config.facts(), **facts, "entries": len(made), TO_REVIEW: True}
    return [
        registry.add(
            artifacts.write(registry.root, "dataset", name, fill, config=said, parents=config.parents())
        )
    ]


def _line(made: Made, *, is_pair: bool) -> dict[str, Any]:
    number = {"prompt": made.prompt.number}
    if is_pair:
        return {"messages": made.prompt.messages, "chosen": made.pair[0], "rejected": made.pair[1], **number}
    return {"messages": made.lesson, **number}


def _review(name: str, made: Sequence[Made]) -> str:
    """All entries by number, every step in the model's words."""
    opening = (
        f"# {name}: {len(made)} entries to review\n\nA model made them; read them before they are learnt. "
        f"`mainspring constitution accept {name} --without 2,7` leaves entries out.\n"
    )
    parts = [opening]
    for number, each in enumerate(made, 1):
        parts.append(f"## {number}\n")
        parts += [f"**{turn.role}:** {turn.content}\n" for turn in each.prompt.messages]
        parts.append("Principles: " + " / ".join(each.principles) + "\n")
        parts += [f"**{step.step}:** {step.said}\n" for step in each.steps]
        if each.pair:
            parts.append(f"**chosen:** {each.pair[0]}\n\n**rejected:** {each.pair[1]}\n")
    return "\n".join(parts)
