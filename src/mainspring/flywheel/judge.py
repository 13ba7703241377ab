"""A candidate before the gate: asked the held-out questions beside the base and the base with examples.

It is the form of answers that is judged, not new knowledge: every system reads the same passages.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from mainspring import artifact as artifacts
from mainspring.adapt import base as adapters
from mainspring.app import PROMPT, AssistantSpec, Workspace
from mainspring.artifact import Artifact
from mainspring.config import build
from mainspring.evaluate.answers import Judged, ask_all, judge
from mainspring.evaluate.gate import GateReport, decide
from mainspring.evaluate.gold import Gold
from mainspring.flywheel.harvest import Lesson
from mainspring.knowledge.scope import Scope
from mainspring.progress import bar
from mainspring.prompts.template import Example, GroundedPrompt
from mainspring.schema import Message, Reply
from mainspring.train.sources.chats import ChatSource
from mainspring.train.teacher import answer_nll

BASE, FEW_SHOT, CANDIDATE = "base", "few_shot", "candidate"
EVALUATION, ANSWERS, GOLD = "gate", "answers.jsonl", "gold.jsonl"
MAX_NLL_TOKENS = 2048


def few_shot_assistant(
    workspace: Workspace, base: AssistantSpec, lessons: Sequence[Lesson], num: int
) -> Artifact:
    """The base told by examples what the candidate was trained on: the fair opponent of tuning."""
    prompt = build(GroundedPrompt, workspace.registry.get(base.prompt).config)
    index = workspace.registry.get(base.index)
    chosen = lessons[:: max(1, len(lessons) // num)][:num]
    found = workspace.retriever(index.name).search_many(
        [lesson.question for lesson in chosen], Scope(version=index.config["version"]), 1
    )
    examples = tuple(
        Example(question=lesson.question, passages=prompt.show(hits), answer=lesson.messages[-1].content)
        for lesson, hits in zip(chosen, found, strict=True)
    )
    config = prompt.model_copy(update={"examples": examples}).model_dump(mode="json")
    saved = workspace.save("prompt", f"{PROMPT}-few-shot", config, {"prompt": base.prompt})
    spec = base.model_copy(update={"prompt": saved.reference})
    return workspace.save_assistant(spec, "few-shot")


def run_gate(
    workspace: Workspace, systems: Mapping[str, str], items: Sequence[Gold]
) -> tuple[GateReport, Artifact]:
    """Ask every system (base, few_shot, candidate: references of assistants) all questions, and decide.

    Returns:
        The decision and the `evaluation` artifact that keeps it, with every answer.

    """
    answers: dict[str, list[tuple[Gold, Reply]]] = {}
    with bar("gate", len(systems) * len(items), "questions") as advance:
        for name, reference in systems.items():
            answers[name] = ask_all(workspace.assistant(reference), items, advance=advance)
    judged = {name: [judge(*pair) for pair in pairs] for name, pairs in answers.items()}
    opponents = {name: each for name, each in judged.items() if name != CANDIDATE}
    report = decide(judged[CANDIDATE], opponents, base=BASE, few_shot=FEW_SHOT)
    nll = {
        name: mean_nll(workspace, workspace.spec(systems[name]), answers[name]) for name in (BASE, CANDIDATE)
    }
    return report, _save(workspace, systems, judged, items, {**msgspec.to_builtins(report), "nll": nll})


def mean_nll(workspace: Workspace, spec: AssistantSpec, pairs: Sequence[tuple[Gold, Reply]]) -> float:
    """Mean negative log-likelihood, in nats a token, of the wanted answers under a system's own prompts."""
    conversations = [
        [*msgspec.convert(reply.attributes["mainspring.prompt.messages"], list[Message]), _answer(item)]
        for item, reply in pairs
        if item.is_answerable
    ]
    host = workspace.host(spec.model)
    source = ChatSource(conversations, host.tokenizer, max_tokens=MAX_NLL_TOKENS)
    segments = [source.item(index)[0] for index in range(source.num_items)]
    values: list[float] = []

    def run() -> None:
        adapters.activate(host.engine.model, spec.adapter)
        values.extend(answer_nll(host.engine.model, segments, max_tokens=MAX_NLL_TOKENS))

    host.engine.between_steps(run)
    return sum(values) / len(values)


def passing_evaluation(workspace: Workspace, reference: str) -> Artifact | None:
    """The evaluation in which this assistant passed the gate, if there is one."""
    for name in reversed(workspace.registry.list("evaluation")):
        evaluation = workspace.registry.get(name)
        if evaluation.parents.get(CANDIDATE) == reference and evaluation.config["decision"] == "pass":
            return evaluation
    return None


def _answer(item: Gold) -> Message:
    return Message(role="assistant", content=item.answer or "")


def _save(
    workspace: Workspace,
    systems: Mapping[str, str],
    judged: Mapping[str, Sequence[Judged]],
    items: Sequence[Gold],
    config: dict[str, object],
) -> Artifact:
    """Keep every answer, and the questions with their gold answers: what no training data may hold."""

    def fill(folder: Path) -> None:
        rows = [{"system": name, **msgspec.to_builtins(row)} for name, rows in judged.items() for row in rows]
        (folder / ANSWERS).write_bytes(msgspec.json.Encoder().encode_lines(rows))
        (folder / GOLD).write_bytes(msgspec.json.Encoder().encode_lines(items))

    return workspace.registry.add(
        artifacts.write(
            workspace.registry.root, "evaluation", EVALUATION, fill, config=config, parents=dict(systems)
        )
    )
