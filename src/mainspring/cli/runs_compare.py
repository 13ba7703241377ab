"""mainspring runs compare and plot: what runs came to, in figures and in pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, RunId, WorkspacePath, open_workspace
from mainspring.errors import UserError

if TYPE_CHECKING:
    from mainspring.train.comparison import Comparison, Curve
    from mainspring.train.history import History, Outcome


def compare(
    run_ids: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Two runs or more.")],
    to_file: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Draw the losses into this file.")
    ] = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Say what differs between runs: settings, losses, tokens, time."""
    from mainspring.train.comparison import compare as compare_runs
    from mainspring.train.history import read

    if len(set(run_ids)) < 2:
        raise UserError(f"{run_ids[0]} is one run; name two or more. See `mainspring runs list`.")
    with open_workspace(workspace) as opened:
        found = {each: opened.runs.get(each) for each in run_ids}
        histories = {each: read(opened.runs.folder(each)) for each in found}
    said = compare_runs({name: {"kind": run.kind, **run.config} for name, run in found.items()}, histories)
    if to_file is not None:
        from mainspring.train.plots import draw_comparison

        draw_comparison(_trained(histories), _png(to_file))
    if as_json:
        show.result({"comparison": said, "results": {name: run.result for name, run in found.items()}})
        return
    _print(said)
    show.end(workspace, to_file or workspace / "runs", f"runs show {said.runs[0]}")


def plot(
    run_id: RunId,
    to_file: Annotated[
        Path | None, typer.Option("--to", metavar="FILE.png", help="Another place than the run's folder.")
    ] = None,
    workspace: WorkspacePath = DEFAULT,
) -> None:
    """Draw a run's loss, learning rate, gradient norm and throughput as a PNG file."""
    from mainspring.train.history import read
    from mainspring.train.plots import NAME, draw_run

    with open_workspace(workspace) as opened:
        opened.runs.get(run_id)
        folder = opened.runs.folder(run_id)
        (history,) = _trained({run_id: read(folder)}).values()
    path = draw_run(history, folder / NAME if to_file is None else _png(to_file), run_id)
    show.end(workspace, path, f"runs show {run_id}")


def outcome_rows(outcomes: "Sequence[Outcome | None]") -> list[list[Any]]:
    """One row a figure, one column a run."""
    rows = {
        "steps": lambda each: each.steps,
        "tokens": lambda each: each.tokens,
        "trained tokens": lambda each: f"{each.trained_tokens:,.0f}",
        "time of the steps": lambda each: f"{each.seconds:,.1f} s",
        "throughput": lambda each: f"{each.tokens_per_s:,.0f} tok/s",
        "loss of the last step": lambda each: f"{each.loss:.4f}",
        "lowest loss of a step": lambda each: f"{each.min_loss:.4f} (step {each.min_loss_step})",
        "loss held out, last": lambda each: _or_none(each.valid_loss, each.steps),
        "loss held out, best": lambda each: _or_none(each.best_valid_loss, each.best_valid_step),
        "steps skipped": lambda each: each.skipped,
    }
    return [[name, *(None if each is None else of(each) for each in outcomes)] for name, of in rows.items()]


def _or_none(loss: float | None, step: int | None) -> str | None:
    return None if loss is None else f"{loss:.4f} (step {step})"


def _print(said: "Comparison") -> None:
    rows = [[key, *(_shown(value) for value in values)] for key, values in said.differences.items()]
    show.table(rows or [["no setting differs"]], ["", *said.runs] if rows else ())
    if not any(said.outcomes.values()):
        return
    print()
    show.table(outcome_rows(list(said.outcomes.values())), ["", *said.runs])
    for what, curve in (("step", said.over_steps), ("trained tokens", said.over_trained_tokens)):
        print(f"\nmean loss since the row before, by {what}")
        show.table(_curve_rows(curve), [what, *said.runs])


def _curve_rows(curve: "Curve") -> list[list[Any]]:
    return [
        [
            f"{place:,.0f}",
            *(None if each[at] is None else f"{each[at]:.4f}" for each in curve.losses.values()),
        ]
        for at, place in enumerate(curve.places)
    ]


def _shown(value: object) -> str | None:
    return None if value is None else show.shorten(str(value), 40)


def _trained(histories: "dict[str, History]") -> "dict[str, History]":
    found = {name: each for name, each in histories.items() if each.reports}
    if not found:
        raise UserError(f"{', '.join(histories)} trained no step, so there is nothing to draw.")
    return found


def _png(path: Path) -> Path:
    if path.suffix != ".png" or not path.parent.is_dir():
        raise UserError(f"{path} is not a place for a PNG file. Give FILE.png in a folder that is there.")
    return path
