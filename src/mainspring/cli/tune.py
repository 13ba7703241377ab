"""mainspring tune: a search over the settings of a training run, architecture included."""

from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.errors import MainspringError, UserError

if TYPE_CHECKING:
    from mainspring.registry import Registry
    from mainspring.train.search_report import Found, Tried

NUM_SHOWN = 10


def tune(
    files: Files = None,
    settings: Settings = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes that try at the same time.")
    ] = 1,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with a search; -o trials=N for more.")
    ] = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Search for the settings of a recipe that train best; the space is a file given with -c."""
    if (resume is None) == (not files):
        raise UserError(
            "Give a space with -c FILE, or a search to go on with, with --resume RUN. It is one of both."
        )
    from mainspring.train.search_run import SearchConfig, resume_search, search_recipes

    open_registry = partial(_registry, workspace)
    with open_workspace(workspace) as opened:
        if resume is None:
            config = load_config(SearchConfig, files, settings)
            found, run = search_recipes(opened.runs, config, open_registry, workers=workers)
        else:
            found, run = resume_search(opened.runs, resume, open_registry, settings or (), workers=workers)
        folder = opened.runs.folder(run.id)
    if as_json:
        show.result({"run": run.id, "found": found, "best": run.result.get("best"), "folder": folder})
        return
    config = SearchConfig.model_validate(run.config)
    _print(found, [*dict.fromkeys([*(goal.metric for goal in config.goals), "parameters"])])
    if "best" not in run.result:
        raise MainspringError(
            f"No trial of {run.id} came to its end. Go on with `-o trials=N`, or widen the space."
        )
    show.end(
        workspace,
        folder,
        f"train {config.preset} -c {run.result['best']}",
        f"tune --resume {run.id} -o trials=N",
    )


@cache  # one connection a worker, however many trials it has
def _registry(workspace: Path) -> "Registry":
    from mainspring.app import Workspace

    return Workspace(workspace).registry


def _print(found: "Found", metrics: list[str]) -> None:
    keys = sorted({key for each in found.trials for key in each.values})
    rows = [_row(each, keys, metrics) for each in found.trials[:NUM_SHOWN]]
    show.table(rows, ["trial", "state", *metrics, *keys, "took"])
    if len(found.trials) > NUM_SHOWN:
        print(f"and {len(found.trials) - NUM_SHOWN} more")
    if len(found.front) > 1:
        print(f"\nfront: trials {', '.join(str(each.number) for each in found.front)}")
    if found.importance:
        print()
        show.table([[key, f"{value:.2f}"] for key, value in found.importance.items()], ["", "importance"])


def _row(tried: "Tried", keys: list[str], metrics: list[str]) -> list[Any]:
    figures = [f"{tried.metrics[name]:.4g}" if name in tried.metrics else None for name in metrics]
    values = [_shown(tried.values.get(key)) for key in keys]
    return [
        tried.number,
        tried.state,
        *figures,
        *values,
        None if tried.seconds is None else f"{tried.seconds:.1f} s",
    ]


def _shown(value: object) -> str | None:
    return None if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
