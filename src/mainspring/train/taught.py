"""A teacher's answers to prompts, kept as lessons: what a smaller model learns to say word for word.

Paper: arXiv:1606.07947, section 3.2 (sequence-level distillation). Changed: the teacher's words are greedy or drawn,
in place of those of a beam.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
from pydantic import Field

from mainspring import artifact as artifacts
from mainspring.artifact import Artifact
from mainspring.errors import UserError
from mainspring.protocols import ChatModel
from mainspring.registry import Registry
from mainspring.runs import Run, Runs
from mainspring.schema import Message
from mainspring.train.generate import GenerateConfig, Made, Procedure, Prompt, Talk, begun, generate
from mainspring.train.review import LESSONS

KIND = "teach"
DROPPED = "dropped.jsonl"


class TeachConfig(GenerateConfig):
    """Which prompts a teacher answers, and how."""

    temperature: float = Field(default=0.0, ge=0, description="of answers; 0 is greedy")


def teach(
    registry: Registry,
    runs: Runs,
    config: TeachConfig | None,
    open_model: Callable[[str, str | None], ChatModel],
    *,
    resume: str | None = None,
) -> tuple[Artifact, Run, Counter[str]]:
    """Answer every prompt, or go on with a run that was stopped.

    Returns:
        The dataset of lessons, the run, and how many prompts have no lesson, by the reason.

    Raises:
        UserError: no answer was of use.

    """
    with begun(registry, runs, KIND, config, TeachConfig, resume=resume) as (run, settings, prompts, journal):
        model = open_model(settings.model, settings.adapter)
        made = generate(
            prompts, lambda prompt: _answer(prompt, settings), model, journal, at_once=settings.at_once
        )
        kept = [each for each in made if each.lesson]
        dropped = Counter(reason for each in made for reason in each.dropped)
        if not kept:
            raise UserError(f"None of {len(made)} prompts has an answer to learn: {'; '.join(dropped)}.")

        def fill(folder: Path) -> None:
            encode = msgspec.json.Encoder().encode_lines
            lines = [{"messages": each.lesson, "prompt": each.prompt.number} for each in kept]
            (folder / LESSONS).write_bytes(encode(lines))
            (folder / DROPPED).write_bytes(encode([each for each in made if not each.lesson]))

        facts = {**settings.facts(), "prompts": run.config["prompts"], "lessons": len(kept), "run": run.id}
        dataset = artifacts.write(
            registry.root, "dataset", settings.name, fill, config=facts, parents=settings.parents()
        )
        registry.add(dataset)
    return dataset, runs.end(run.id, "done", {"dataset": dataset.reference}), dropped


def _answer(prompt: Prompt, config: TeachConfig) -> Procedure:
    talk = Talk(prompt, config)
    answer = yield from talk.ask("answer", prompt.messages)
    return Made(
        prompt=prompt, steps=tuple(talk.steps), dropped=tuple(talk.dropped),
        lesson=(*prompt.messages, Message("assistant", answer)) if answer else (),
    )  # fmt: skip
