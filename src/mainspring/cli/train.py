"""mainspring train: an adapter from the newest feedback, as a run that can be resumed."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.errors import BusyError, NotFoundError, UserError

if TYPE_CHECKING:
    from mainspring.app import Workspace
    from mainspring.runs import Run


def train(
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped.")
    ] = None,
    is_list: Annotated[bool, typer.Option("--list", help="Show the runs there are.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Resume although data, code or machine are not the same.")
    ] = False,
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Train an adapter on the lessons that feedback gave."""
    _check_usage(resume, accept, files, settings)
    with open_workspace(workspace) as opened:
        if is_list:
            _list(opened, workspace, as_json=as_json)
            return
        from mainspring.flywheel.tune import TuneConfig, tune

        config = load_config(TuneConfig, files, settings)
        if resume is None:
            _check_dataset(opened, config.dataset)
            _tell_killed(opened)
        else:
            _check_run(opened, resume)
        adapter, run = tune(opened, config, resume=resume, accept=accept)
        folder = opened.registry.folder(adapter)
    facts = {name: adapter.config[name] for name in ("steps", "trained_tokens")}
    if as_json:
        show.result({"adapter": adapter.reference, "run": run.id, **facts, "folder": folder})
        return
    show.table([["adapter", adapter.reference], ["run", run.id], *facts.items()])
    show.end(workspace, folder, "flywheel run --gold FILE", "train --list")


def _check_usage(
    resume: str | None, accept: bool, files: list[Path] | None, settings: list[str] | None
) -> None:
    if resume is not None and (files or settings):
        raise UserError(f"-c and -o are of a new run; {resume} keeps its own settings. Leave them out.")
    if accept and resume is None:
        raise UserError("--accept is for --resume RUN: a new run has nothing to differ from.")


def _check_dataset(workspace: "Workspace", reference: str) -> None:
    if not workspace.registry.has(reference):
        raise NotFoundError(
            f"There is no {reference} to learn from. Rate answers on the page of `mainspring serve`, with "
            "corrections; `mainspring flywheel run --gold FILE` makes a dataset of them and learns it."
        )


def _check_run(workspace: "Workspace", run_id: str) -> None:
    from mainspring.flywheel.tune import KIND

    run = next((run for run in workspace.runs.list(KIND) if run.id == run_id), None)
    if run is None:
        workspace.runs.get(run_id)  # says that there is none
        raise UserError(f"{run_id} is not a run of `train`. See `mainspring train --list`.")
    if run.status == "done":
        raise UserError(f"{run_id} is done; its adapter is {run.result.get('adapter')}.")
    if run.status == "running":
        raise BusyError(f"{run_id} is running as process {run.pid}. Wait until it is done.")


def _tell_killed(workspace: "Workspace") -> None:
    from mainspring.flywheel.tune import KIND
    from mainspring.progress import say

    for run in workspace.runs.list(KIND):
        if run.status == "killed":
            resume = f"mainspring train --resume {run.id}"
            say(f"{run.id} was killed; `{resume}` goes on with it. A new run begins.")


def _list(workspace: "Workspace", path: Path, *, as_json: bool) -> None:
    runs = workspace.runs.list()
    if as_json:
        show.result({"runs": runs})
        return
    show.table([_row(run) for run in runs], ["run", "status", "started", "result"])
    stopped = [f"train --resume {run.id}" for run in runs if run.status in ("killed", "failed")]
    show.end(path, path / "runs", *(stopped[:1] or ["train"]))


def _row(run: "Run") -> list[object]:
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started))
    return [run.id, run.status, started, run.result.get("adapter") or run.result.get("error")]
