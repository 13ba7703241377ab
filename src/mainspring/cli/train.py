"""mainspring train: a recipe to an adapter or a model, as a run that can be resumed."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, open_workspace
from mainspring.errors import BusyError, NotFoundError, UserError

if TYPE_CHECKING:
    from mainspring.app import Workspace
    from mainspring.artifact import Artifact
    from mainspring.runs import Run
    from mainspring.train.recipe import Recipe
    from mainspring.train.run import Planned

FEEDBACK = "dataset/feedback"
GB = 1e9


def train(
    preset: Annotated[
        str, typer.Argument(help="The recipe that is begun with: feedback, pretrain, sft, dpo and others.")
    ] = "feedback",
    is_plan: Annotated[
        bool, typer.Option("--plan", help="Say what the run would be and take, and end.")
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="TIME", help="Derive size and length of a new model: 90s, 30m, 2h."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped.")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Resume although data, code or machine are not the same.")
    ] = False,
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Train by a recipe; without one, an adapter on the lessons that feedback gave."""
    _check_usage(resume, accept, budget, files, settings)
    with open_workspace(workspace) as opened:
        from mainspring.train.ranks import is_first, started

        with started():
            found = _run(
                opened, preset, files, settings, resume, budget,
                is_plan=is_plan, accept=accept, as_json=as_json,
            )  # fmt: skip
            if found is not None and is_first():
                _tell(opened, workspace, *found, as_json=as_json)


def _run(
    workspace: "Workspace",
    preset: str,
    files: list[Path] | None,
    settings: list[str] | None,
    resume: str | None,
    budget: str | None,
    *,
    is_plan: bool,
    accept: bool,
    as_json: bool,
) -> "tuple[Artifact, Run] | None":
    """What a run made, in all processes that take part; nothing of a plan, which is shown."""
    from mainspring.train.ranks import is_first
    from mainspring.train.recipe import load_recipe
    from mainspring.train.run import plan_recipe, run_recipe

    if resume is not None:
        if is_first():
            _check_run(workspace, resume)
        return run_recipe(
            workspace.registry, workspace.runs, None, resume=resume, settings=settings or (), accept=accept
        )  # fmt: skip
    recipe = (
        _from_budget(workspace, preset, files, settings, budget, as_json=as_json)
        if budget
        else load_recipe(preset, files or (), settings or ())
    )
    _check_feedback(workspace, recipe)
    if is_plan:
        planned = plan_recipe(workspace.registry, recipe)
        if is_first():
            _show_plan(workspace, recipe, planned, as_json=as_json)
        return None
    if is_first():
        _tell_killed(workspace)
    return run_recipe(workspace.registry, workspace.runs, recipe)


def _tell(workspace: "Workspace", path: Path, made: "Artifact", run: "Run", *, as_json: bool) -> None:
    folder = workspace.registry.folder(made)
    facts = {name: made.config[name] for name in ("steps", "trained_tokens", "loss")}
    if as_json:
        show.result({made.kind: made.reference, "run": run.id, **facts, "folder": folder})
        return
    show.table([[made.kind, made.reference], ["run", run.id], *facts.items()])
    after = (
        "flywheel run --gold FILE"
        if made.reference.startswith("adapter/feedback")
        else f"models describe {made.reference}"
    )
    show.end(path, folder, after, "runs list")


def _from_budget(
    workspace: "Workspace",
    preset: str,
    files: list[Path] | None,
    settings: list[str] | None,
    budget: str,
    *,
    as_json: bool,
) -> "Recipe":
    """The recipe that a time gives, with what was derived said: on standard output unless that is for JSON."""
    from mainspring.train.budget import load_budgeted, parse_budget

    found = load_budgeted(workspace.registry, preset, files or (), settings or (), parse_budget(budget))
    with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
        show.table([[each.what, each.value, each.why] for each in found.derived], ["", "derived", "why"])
        print(flush=True)
    return found.recipe


def _show_plan(workspace: "Workspace", recipe: "Recipe", planned: "Planned", *, as_json: bool) -> None:
    from mainspring.train.budget import foresee_loss

    forecast = planned.forecast
    tokens = forecast.num_steps * forecast.tokens_per_step
    foreseen = foresee_loss(workspace.registry, recipe, tokens)
    resolved = recipe.model_dump(mode="json")
    facts = {
        "steps": forecast.num_steps,
        "parameters": forecast.parameters,
        "trained parameters": forecast.trained_parameters,
        "tokens a step": forecast.tokens_per_step,
        "batches a step": forecast.batches_per_step,
        "memory at its peak (GB)": round(forecast.peak_bytes / GB, 2),
        "memory there is (GB)": round(forecast.available_bytes / GB, 2),
        "time of a step (s)": round(forecast.seconds_per_step, 3),
        "time in all (min)": round(forecast.seconds / 60, 1),
    }
    if as_json:
        show.result(
            {"recipe": resolved, "data": planned.looked, "faults": planned.faults, "forecast": forecast,
             "held_out_loss": foreseen}
        )  # fmt: skip
        return
    if foreseen is not None:
        facts["held-out loss (nats a token)"] = (
            f"{foreseen.loss:.3f}, {foreseen.low:.3f} to {foreseen.high:.3f}"
        )
    import yaml

    print(yaml.safe_dump(resolved, sort_keys=False), end="")
    print()
    _show_preflight(planned)
    show.table([[name, value] for name, value in facts.items()])


def _show_preflight(planned: "Planned") -> None:
    """What was seen of the data, and the doctor's word on the datasets."""
    looked = planned.looked
    seen = f"{looked.items:,} items, {looked.segments:,} segments, {looked.ids:,} ids"
    seen += f", {looked.trained_ids:,.0f} of them trained"
    rows = [["data looked at", seen], ["longest segment (ids)", looked.longest]]
    rows += [["segments that train nothing", looked.untaught]] if looked.untaught else []
    rows += [["items that stood there before", looked.repeated]] if looked.repeated else []
    rows += [
        [f"fault: {each.check}", f"{each.what} ({each.where}). {each.advice}"] for each in planned.faults
    ]
    show.table(rows if planned.faults else [*rows, ["faults of the datasets", "none"]])


def _check_usage(
    resume: str | None,
    accept: bool,
    budget: str | None,
    files: list[Path] | None,
    settings: list[str] | None,
) -> None:
    if resume is not None and (files or budget or (settings and not accept)):
        raise UserError(
            f"-c, -o and --budget are of a new run; {resume} keeps its own settings. Leave them out, or give -o with "
            "--accept to go on with another setting."
        )
    if accept and resume is None:
        raise UserError("--accept is for --resume RUN: a new run has nothing to differ from.")


def _check_feedback(workspace: "Workspace", recipe: "Recipe") -> None:
    """Lessons of feedback come from ratings, and a newcomer has none."""
    asked = recipe.data.model_dump().get("dataset")
    if asked == FEEDBACK and not workspace.registry.has(FEEDBACK):
        raise NotFoundError(
            f"There is no {FEEDBACK} to learn from. Rate answers on the page of `mainspring serve`, with "
            "corrections; `mainspring flywheel run --gold FILE` makes a dataset of them and learns it."
        )


def _check_run(workspace: "Workspace", run_id: str) -> None:
    from mainspring.train.run import KIND

    run = next((run for run in workspace.runs.list(KIND) if run.id == run_id), None)
    if run is None:
        workspace.runs.get(run_id)  # says that there is none
        raise UserError(f"{run_id} is not a run of `train`. See `mainspring runs list --kind train`.")
    if run.status == "done":
        raise UserError(f"{run_id} is done; it made {_made(run)}.")
    if run.status == "running":
        raise BusyError(f"{run_id} is running as process {run.pid}. Wait until it is done.")


def _tell_killed(workspace: "Workspace") -> None:
    from mainspring.progress import say
    from mainspring.train.run import KIND

    for run in workspace.runs.list(KIND):
        if run.status == "killed":
            resume = f"mainspring train --resume {run.id}"
            say(f"{run.id} was killed; `{resume}` goes on with it. A new run begins.")


def _made(run: "Run") -> object:
    return run.result.get("adapter") or run.result.get("model")
