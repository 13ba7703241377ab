"""mainspring gate: is a candidate better than what is in production, by more than luck?"""

from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import (
    DEFAULT,
    AsJson,
    GoldFile,
    WorkspacePath,
    find_assistant,
    held_out,
    open_workspace,
    production,
)
from mainspring.errors import GateRefusedError, NotFoundError, UserError

if TYPE_CHECKING:
    from mainspring.app import Workspace
    from mainspring.artifact import Artifact
    from mainspring.evaluate.gate import GateReport


def gate(
    candidate: Annotated[str, typer.Argument(help="assistant/NAME@VERSION.")],
    gold: GoldFile,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Hold a candidate against the assistant in production, plain and told by examples; exit 3 if refused."""
    items = held_out(gold)
    with open_workspace(workspace) as opened:
        base, wanted = production(opened), find_assistant(opened, candidate)
        if wanted.reference == base.reference:
            raise UserError(f"{wanted.reference} is in production itself; name another to compare with it.")
        dataset = _dataset(opened, wanted)
        from mainspring.flywheel.loop import FlywheelConfig
        from mainspring.flywheel.loop import gate as decide

        num_examples = FlywheelConfig().num_examples
        report, evaluation = decide(opened, wanted, base, dataset, items, num_examples=num_examples)
        folder, nll = opened.registry.folder(evaluation), evaluation.config["nll"]
    if as_json:
        show.result(
            {"candidate": wanted.reference, "evaluation": evaluation.reference, "gate": report, "nll": nll}
        )
    else:
        print_report(report, nll)
        passed = report.decision == "pass"
        show.end(workspace, folder, *([f"promote {wanted.reference}"] if passed else ["train"]))
    refuse(report, wanted.reference)


def print_report(report: "GateReport", nll: dict[str, float]) -> None:
    """The figures of a decision, for people."""

    def row(name: str, opponent: str, score: float) -> list[object]:
        low, high = report.intervals[opponent]
        lead, chance = f"{report.after - score:+.3f}", f"{report.p_values[opponent]:.4f}"
        kept = f"{report.abstention[opponent]:.0%}"
        return [name, f"{score:.3f}", lead, f"{low:+.3f} to {high:+.3f}", chance, kept]

    from mainspring.flywheel.judge import BASE, CANDIDATE, FEW_SHOT

    show.table(
        [
            row("in production", BASE, report.before),
            row("with examples", FEW_SHOT, report.few_shot),
            ["candidate", f"{report.after:.3f}", "", "", "", f"{report.abstention[CANDIDATE]:.0%}"],
        ],
        ["system", "token F1", "lead", "95 % interval", "p", "unanswerable left unanswered"],
    )
    figures = ", ".join(f"{name} {value:.3f}" for name, value in nll.items())
    print(f"\nnats a token of the wanted answers: {figures}")
    print(f"decision: {report.decision} ({report.num_items} questions, alpha {report.alpha})")
    for reason in report.reasons:
        print(f"  {reason}")


def refuse(report: "GateReport", candidate: str) -> None:
    """Raise GateRefusedError unless the candidate passed."""
    if report.decision != "pass":
        raise GateRefusedError(f"the gate refused {candidate}: {'; '.join(report.reasons)}")


def _dataset(workspace: "Workspace", candidate: "Artifact") -> "Artifact":
    """What the candidate learnt from, else the newest lessons: the few-shot opponent is told of them."""
    from mainspring.flywheel.curate import DATASET

    adapter = workspace.spec(candidate.reference).adapter
    learnt = workspace.registry.get(adapter).parents.get("dataset") if adapter else None
    reference = learnt or f"dataset/{DATASET}"
    if not workspace.registry.has(reference):
        raise NotFoundError(
            f"There is no {reference}; the gate tells the opponent examples from it. Rate answers on the "
            "page of `mainspring serve`, then run `mainspring flywheel run --gold FILE`."
        )
    return workspace.registry.get(reference)
