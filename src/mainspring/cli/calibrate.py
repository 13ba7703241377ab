"""mainspring calibrate: what the confidence of an assistant's answers is worth, and from then on shown."""

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

if TYPE_CHECKING:
    from mainspring.evaluate.calibration import Figure
    from mainspring.evaluate.confidence import Report


def calibrate(
    gold: GoldFile,
    assistant: Annotated[
        str | None,
        typer.Argument(metavar="[ASSISTANT]", help="assistant/NAME@VERSION; the one in production if none."),
    ] = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Fit an assistant's confidence to half of the held-out questions and report on the other half."""
    from mainspring.evaluate import confidence
    from mainspring.evaluate.answers import ask_all
    from mainspring.progress import bar

    items = held_out(gold)
    with open_workspace(workspace) as opened:
        artifact = find_assistant(opened, assistant) if assistant else production(opened)
        model = opened.assistant(artifact.reference)
        with bar("ask", len(items), "questions") as advance:
            graded = confidence.grade(ask_all(model, items, advance=advance))
        fit, report = confidence.calibrate(graded, len(items))
        saved = confidence.save(opened.registry, artifact, fit, report, graded)
        folder = opened.registry.folder(saved)
    if as_json:
        named = {"assistant": artifact.reference, "confidence": saved.reference}
        show.result({**named, "fit": fit, "report": report, "items": graded})
        return
    num_shown = sum(each.is_shown for each in graded)
    print(
        f"{artifact.reference} wrote {len(graded)} answers to {report.num_asked} questions; {num_shown} were shown"
    )
    print(f"fitted on {report.num_fitted}, reported on {report.num_reported} others\n")
    _print_report(report)
    show.end(workspace, folder, 'ask "QUESTION"', "serve")


def _print_report(report: "Report") -> None:
    def shown(figure: "Figure") -> str:
        return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"

    names = {"ece": "calibration error", "brier": "Brier score", "auroc": "AUROC"}
    systems = [each for each in (report.before, report.after, report.shown) if each is not None]
    rows = [[name, *(shown(getattr(each, field)) for each in systems)] for field, name in names.items()]
    heads = ["", "exp(log-probability)", "calibrated", f"calibrated, the {report.num_shown} shown"]
    show.table(rows, heads[: 1 + len(systems)])
    print(f"\nright: {shown(report.accuracy)} of the reported; in brackets 95 % intervals")
