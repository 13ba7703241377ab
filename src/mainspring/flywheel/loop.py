"""The whole turn of the wheel: feedback -> lessons -> adapter -> gate -> production."""

from collections.abc import Callable, Sequence

import msgspec
import pydantic

from mainspring.app import IN_PRODUCTION, Workspace
from mainspring.artifact import Artifact
from mainspring.config import Config
from mainspring.errors import UserError
from mainspring.evaluate.compare import MIN_ITEMS
from mainspring.evaluate.gate import GateReport
from mainspring.evaluate.gold import Gold
from mainspring.flywheel import curate
from mainspring.flywheel.harvest import harvest
from mainspring.flywheel.judge import BASE, CANDIDATE, FEW_SHOT, few_shot_assistant, run_gate
from mainspring.flywheel.promote import promote
from mainspring.progress import say
from mainspring.train.recipe import FEEDBACK, Recipe, load_recipe
from mainspring.train.run import run_recipe
from mainspring.train.sources.chats import Chats


class FlywheelConfig(Config):
    """One turn."""

    tune: Recipe = pydantic.Field(default=load_recipe(FEEDBACK), description="How feedback is learnt.")
    num_examples: int = pydantic.Field(default=8, ge=1, description="Examples of the few-shot opponent.")


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn made, by reference; `promoted` is None where the gate refused."""

    dataset: str
    lessons: int
    dropped: int
    run: str
    adapter: str
    base: str
    candidate: str
    evaluation: str
    gate: GateReport
    nll: dict[str, float]
    promoted: str | None


def turn(
    workspace: Workspace,
    config: FlywheelConfig,
    items: Sequence[Gold],
    *,
    release: Callable[[Workspace, str], object] = promote,
    announce: Callable[[str], object] = say,
    on_decision: Callable[[GateReport, dict[str, float]], object] | None = None,
) -> Turn:
    """Learn from all feedback so far and promote the result if it is better.

    Args:
        workspace: with an assistant in production and feedback on its answers.
        config: how to tune and to compare.
        items: held-out questions, answerable and not.
        release: what moves the label once the gate let the candidate pass.
        announce: told the name of each stage as it begins: collect, tune, gate, promote.
        on_decision: told the gate's report and the NLL beside it, before anything is promoted.

    """
    _check(items)
    announce("collect")
    base = workspace.registry.get(IN_PRODUCTION)
    dataset = collect(workspace, items)
    spec = workspace.spec(base.reference)
    recipe = config.tune.model_copy(update={"data": Chats(dataset=dataset.reference), "model": spec.model})
    announce("tune")
    adapter, run = run_recipe(workspace.registry, workspace.runs, recipe)
    candidate = workspace.save_assistant(spec.model_copy(update={"adapter": adapter.reference}))
    announce("gate")
    report, evaluation = gate(workspace, candidate, base, dataset, items, num_examples=config.num_examples)
    if on_decision is not None:
        on_decision(report, evaluation.config["nll"])
    promoted = None
    if report.decision == "pass":
        announce("promote")
        release(workspace, candidate.reference)
        promoted = candidate.reference
    return Turn(
        dataset=dataset.reference,
        lessons=dataset.config["lessons"],
        dropped=dataset.config["dropped"],
        run=run.id,
        adapter=adapter.reference,
        base=base.reference,
        candidate=candidate.reference,
        evaluation=evaluation.reference,
        gate=report,
        nll=evaluation.config["nll"],
        promoted=promoted,
    )


def collect(workspace: Workspace, items: Sequence[Gold]) -> Artifact:
    """All feedback so far as a dataset, without what stands in the evaluation set."""
    lessons, unused = harvest(workspace.feedback.latest())
    kept, dropped = curate.curate(lessons, items)
    dataset = curate.save(workspace, kept, [*unused, *dropped])
    say(f"{dataset.reference}: {len(kept)} lessons, {len(unused) + len(dropped)} dropped")
    return dataset


def gate(
    workspace: Workspace,
    candidate: Artifact,
    base: Artifact,
    dataset: Artifact,
    items: Sequence[Gold],
    *,
    num_examples: int,
) -> tuple[GateReport, Artifact]:
    """Hold a candidate against the base, plain and with examples from what the candidate learnt."""
    _check(items)
    lessons = curate.read(workspace, dataset)
    few_shot = few_shot_assistant(workspace, workspace.spec(base.reference), lessons, num_examples)
    systems = {BASE: base.reference, FEW_SHOT: few_shot.reference, CANDIDATE: candidate.reference}
    return run_gate(workspace, systems, items)


def _check(items: Sequence[Gold]) -> None:
    answerable = sum(item.is_answerable for item in items)
    if answerable < MIN_ITEMS:
        raise UserError(
            f"{answerable} held-out questions with answers were given; the gate needs at least {MIN_ITEMS}."
        )
