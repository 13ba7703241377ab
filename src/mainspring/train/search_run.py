"""A search over recipes as a run that can be stopped and gone on with."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from mainspring import device
from mainspring.config import load
from mainspring.errors import BusyError, ConfigError, MissingExtraError, UserError
from mainspring.progress import say
from mainspring.registry import Registry
from mainspring.runs import Run, Runs
from mainspring.train.comparison import differences
from mainspring.train.search import open_study
from mainspring.train.search_report import PICTURE, Found, draw_search, report, write_best
from mainspring.train.search_settings import SearchSettings
from mainspring.train.search_trial import RecipeTrial
from mainspring.train.search_workers import run_workers

KIND = "tune"
SETTINGS = "search.yaml"
MAY_CHANGE = {"trials", "max_minutes"}  # of a search that goes on


class SearchConfig(SearchSettings):
    """A search over the settings of `mainspring train`."""

    preset: str = Field(default="pretrain", description="the recipe that is begun with")
    recipe: dict[str, Any] = Field(
        default={}, description="settings over the preset, the same in every trial"
    )


def search_recipes(
    runs: Runs, config: SearchConfig, open_registry: Callable[[], Registry], *, workers: int = 1
) -> tuple[Found, Run]:
    """Begin a search.

    Args:
        runs: where the work is written down.
        config: what is searched, and over what.
        open_registry: gives the workspace's registry, in each worker; picklable.
        workers: processes that try at the same time; the threads of this machine are shared among them.

    Raises:
        ConfigError: a space that no recipe has.
        MainspringError: all of the first trials failed.

    """
    trial = _trial(config, open_registry, workers)
    trial.check(config.space)
    return _work(runs, runs.start(KIND, config.model_dump(mode="json")), config, trial, workers)


def resume_search(
    runs: Runs,
    run_id: str,
    open_registry: Callable[[], Registry],
    settings: Sequence[str] = (),
    *,
    workers: int = 1,
) -> tuple[Found, Run]:
    """Go on with a search that was stopped, or with one that is done and gets more `trials`."""
    run = runs.get(run_id)
    if run.kind != KIND:
        raise UserError(
            f"{run_id} is not a run of `tune`, but of kind '{run.kind}'. See `mainspring runs list`."
        )
    if run.status == "running":
        raise BusyError(f"{run_id} is running as process {run.pid}. Wait until it is done.")
    path = runs.folder(run_id) / SETTINGS
    config = load(SearchConfig, [path], settings)
    before = load(SearchConfig, [path])
    changed = differences([before.model_dump(mode="json"), config.model_dump(mode="json")])
    if not {*changed} <= MAY_CHANGE:
        raise ConfigError(
            f"{run_id} cannot go on with other {', '.join(sorted({*changed} - MAY_CHANGE))}: its trials would not be "
            f"comparable. Only {' and '.join(sorted(MAY_CHANGE))} may change; begin another search for the rest."
        )
    return _work(runs, runs.resume(run_id), config, _trial(config, open_registry, workers), workers)


def _trial(config: SearchConfig, open_registry: Callable[[], Registry], workers: int) -> RecipeTrial:
    return RecipeTrial(
        open_registry=open_registry, preset=config.preset, goal=config.goals[0].metric, recipe=config.recipe,
        threads=max(1, device.num_cores() // workers) if workers > 1 else 0,
    )  # fmt: skip


def _work(runs: Runs, run: Run, config: SearchConfig, trial: RecipeTrial, workers: int) -> tuple[Found, Run]:
    folder = runs.folder(run.id)
    say(f"run {run.id}; if it is stopped, `mainspring tune --resume {run.id}` goes on with it")
    try:
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        (folder / SETTINGS).write_text(text, encoding="utf-8")
        run_workers(config, trial, folder, workers)
        found = report(open_study(config, folder), config)
        best = write_best(found, folder, config.preset, config.recipe)
        _draw(found, config, folder)
    except BaseException as error:
        runs.end(run.id, "failed", {"error": f"{type(error).__name__}: {error}"})
        raise
    result = {"best": str(best)} if best else {}
    return found, runs.end(run.id, "done", result)


def _draw(found: Found, config: SearchConfig, folder: Path) -> None:
    try:
        draw_search(found, config.goals, folder / PICTURE)
    except MissingExtraError as error:
        say(str(error))
