"""mainspring runs: what work there was, what became of it, and what of it can go. One module a group of commands."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli import runs_compare, runs_rerun, show
from mainspring.cli.base import DEFAULT, AsJson, RunId, WorkspacePath, open_workspace
from mainspring.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from mainspring.app import Workspace
    from mainspring.runs import Run

DAY_S = 86_400
RESUME = {
    "train": "train --resume",
    "data": "data build --resume",
    "tune": "tune --resume",
    "scale": "scale --resume",
    "teach": "teach --resume",
    "constitution": "constitution --resume",
}
HEADS = ["run", "kind", "status", "started", "took", "result"]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")]

app = typer.Typer(help="Look at runs, compare, repeat and forget them.", no_args_is_help=True)


@app.callback()
def runs() -> None:
    """Look at runs, compare, repeat and forget them."""


@app.command("list")
def list_runs(
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only runs of this kind: train, data and others.")
    ] = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """List all runs, newest first."""
    with open_workspace(workspace) as opened:
        found = opened.runs.list(kind)
    if as_json:
        show.result({"runs": found})
        return
    show.table([_row(run) for run in found], HEADS)
    stopped = next((run for run in found if run.status in ("killed", "failed")), None)
    commands = [f"runs show {found[0].id}"] if found else ["train"]
    show.end(workspace, workspace / "runs", *commands, *_resume(stopped))


@app.command("show")
def show_run(run_id: RunId, workspace: WorkspacePath = DEFAULT, as_json: AsJson = False) -> None:
    """Show a run's configuration, state, result, files and last metrics."""
    from mainspring.train.history import read

    with open_workspace(workspace) as opened:
        run = opened.runs.get(run_id)
        folder = opened.runs.folder(run_id)
        history = read(folder)
    outcome, last = history.outcome(), history.reports[-1] if history.reports else None
    files = {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    if as_json:
        show.result({"run": run, "folder": folder, "files": files, "outcome": outcome, "last": last})
        return
    import yaml

    print(yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True), end="")
    print()
    show.table([*zip(HEADS, _row(run), strict=True), ["process", run.pid]])
    if outcome is not None and last is not None:
        print()
        show.table(runs_compare.outcome_rows([outcome]))
        show.table(
            [[f"  {name} of step {last.step}", f"{value:.4g}"] for name, value in last.metrics.items()]
        )
    print()
    show.table([[f"  {name}", f"{size / 1e6:,.2f} MB"] for name, size in files.items()])
    commands = [f"runs plot {run.id}", f"runs compare {run.id} OTHER"] if outcome else []
    show.end(workspace, folder, *_resume(run), *commands, f"runs rerun {run.id}")


@app.command("forget")
def forget(run_id: RunId, yes: Yes = False, workspace: WorkspacePath = DEFAULT) -> None:
    """Forget a run that is not running, and remove its folder; what it made stays."""
    with open_workspace(workspace) as opened:
        run = opened.runs.get(run_id)
        if not yes:
            raise UserError(
                f"{run_id} is {run.status} and has {_size(opened, run)} in {opened.runs.folder(run_id)}, with the "
                f"settings to repeat it by. Remove them with `mainspring runs forget {run_id} --yes`."
            )
        size = _size(opened, run)
        opened.runs.remove(run)
    print(f"{run_id} is forgotten; {size} are free")


@app.command("clean")
def clean(
    days: Annotated[
        float, typer.Option("--days", min=0, help="Days for which nothing was written, at least.")
    ] = 30.0,
    yes: Yes = False,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Forget old runs that were killed or failed, unfinished builds among them; lists them first."""
    before = time.time() - days * DAY_S
    with open_workspace(workspace) as opened:
        stopped = [run for run in opened.runs.list() if run.status in ("killed", "failed")]
        found = [run for run in stopped if opened.runs.last_change(run) < before]
        sizes = {run.id: _size(opened, run) for run in found}
        for run in found if yes else ():
            opened.runs.remove(run)
    if as_json:
        show.result({"runs": found, "sizes": sizes, "removed": yes})
        return
    show.table([[*_row(run)[:4], sizes[run.id]] for run in found], [*HEADS[:4], "size"] if found else ())
    said = "forgotten" if yes else "would be forgotten"
    print(f"{len(found)} runs that were stopped more than {days:g} days ago {said}")
    commands = [] if yes or not found else [f"runs clean --days {days:g} --yes"]
    show.end(workspace, workspace / "runs", *commands)


def _row(run: "Run") -> list[Any]:
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started))
    took = None if run.ended is None else f"{run.ended - run.started:,.0f} s"
    return [run.id, run.kind, run.status, started, took, made(run) or run.result.get("error")]


def made(run: "Run") -> str | None:
    """What came out of a run."""
    return next(
        (run.result[kind] for kind in ("model", "adapter", "dataset", "best") if kind in run.result), None
    )


def _resume(run: "Run | None") -> list[str]:
    if run is None or run.status not in ("killed", "failed") or run.kind not in RESUME:
        return []
    return [f"{RESUME[run.kind]} {run.id}"]


def _size(workspace: "Workspace", run: "Run") -> str:
    files: list[Path] = [path for path in workspace.runs.folder(run.id).rglob("*") if path.is_file()]
    return f"{sum(path.stat().st_size for path in files) / 1e6:,.1f} MB"


app.command("compare")(runs_compare.compare)
app.command("plot")(runs_compare.plot)
app.command("rerun")(runs_rerun.rerun)
