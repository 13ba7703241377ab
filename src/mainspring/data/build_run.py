"""Which run a build is: a new one, or one that was stopped and is gone on with.

RUN/plan.json   the recipe as given and all that it resolves to
RUN/sources/    what is remote, brought here once
RUN/read/KEY/   a part that was read, by its key: plan.py
RUN/PLAN/       what rests on all parts together, by the plan's fingerprint
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from mainspring import artifact as artifacts
from mainspring.config import build
from mainspring.data.plan import Plan, differences, make_plan
from mainspring.data.recipe import Recipe
from mainspring.data.resolve import check
from mainspring.errors import BusyError, ConfigError, UserError
from mainspring.progress import say
from mainspring.registry import Registry
from mainspring.runs import Run, Runs

KIND = "data"
PLAN, READ, SOURCES, LOCK = "plan.json", "read", "sources", "lock"


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's folder says of its plan."""

    recipe: dict[str, Any]
    config: dict[str, Any]


@contextmanager
def opened(
    runs: Runs, registry: Registry, recipe: Recipe | None, *, resume: str | None, accept: bool
) -> Iterator[tuple[Run, Plan]]:
    """The run and its plan, held by this process alone; what goes wrong in the block is the run's end.

    Raises:
        ConfigError: the run to resume is of another recipe or over other sources.
        UserError, BusyError: it is of another kind, done, or running.

    """
    if recipe is not None:
        check(recipe)  # what is wrong with it is told before a run begins
    for run in runs.list(KIND):
        if run.status == "done":  # and its process was killed while it cleaned up
            clean(runs.folder(run.id))
    begun = _to_resume(runs, resume) if resume is not None else _unfinished(runs, registry, recipe)
    run = begun or runs.start(KIND, _settings(recipe))
    with _held(runs.folder(run.id), run):
        run = runs.resume(run.id) if begun else run
        try:
            plan = _plan(run, runs.folder(run.id), recipe, registry, accept=accept)
            if plan.contaminate is None and plan.recipe.decontaminate is not False:
                say("no evaluation set is known to this workspace, so no text of one is kept out")
            say(f"run {run.id}; if it is stopped, the same command goes on with it")
            yield run, plan
        except BaseException as error:
            runs.end(run.id, "failed", {"error": f"{type(error).__name__}: {error}"})
            raise


def clean(folder: Path) -> None:
    """Remove what only an unfinished build needs."""
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _plan(run: Run, folder: Path, recipe: Recipe | None, registry: Registry, *, accept: bool) -> Plan:
    """The plan of a run: the one that it began with, unless changes are accepted."""
    written = _written(folder)
    plan = make_plan(recipe or _recipe_of(run, written), folder / SOURCES, registry)
    changed = differences(written.config, plan.config) if written else []
    if changed and not accept:
        raise ConfigError(
            f"{run.id} began with something else:\n  "
            + "\n  ".join(changed)
            + "\nUndo these changes, or go on "
            f"with `mainspring data build --resume {run.id} --accept`: what they decide is made again."
        )
    if changed:
        say("accepted:\n  " + "\n  ".join(changed))
    _keep_only(plan, folder)
    whole = Written(recipe=plan.recipe.model_dump(mode="json"), config=plan.config)
    (folder / f"{PLAN}.writing").write_bytes(msgspec.json.encode(whole))
    artifacts.sync(folder / f"{PLAN}.writing")
    (folder / f"{PLAN}.writing").rename(folder / PLAN)
    return plan


def _keep_only(plan: Plan, folder: Path) -> None:
    """Remove what another plan left, and what a killed process left half."""
    keys = {task.key for task in plan.tasks}
    planned = folder / plan.fingerprint[:16]
    wanted = {READ, SOURCES, planned.name}
    stale = [path for path in folder.iterdir() if path.is_dir() and path.name not in wanted]
    for path in [*stale, *(path for path in folder.glob(f"{READ}/*") if path.name not in keys)]:
        _remove(path)
    for root in (planned, planned / "parts"):
        artifacts.sweep(root)


def _remove(path: Path) -> None:
    """Take a folder away at once: the worker of a process that was killed may be about to give it its final name."""
    removed = path.with_name(f".removed-{uuid.uuid4().hex}")
    try:
        path.rename(removed)
    except FileNotFoundError:
        return
    shutil.rmtree(removed, ignore_errors=True)


def _unfinished(runs: Runs, registry: Registry, recipe: Recipe | None) -> Run | None:
    """The newest stopped run of this recipe whose sources are as they were."""
    assert recipe is not None, "a new run has a recipe"
    for run in runs.list(KIND):
        if run.status not in ("killed", "failed"):
            continue
        folder = runs.folder(run.id)
        written = _written(folder)
        if _recipe_of(run, written).identity() != recipe.identity():
            continue
        plan = make_plan(recipe, folder / SOURCES, registry)
        if not written or not (changed := differences(written.config, plan.config)):
            say(f"going on with {run.id}, which was stopped")
            return run
        say(
            f"{run.id} was stopped, but since then\n  "
            + "\n  ".join(changed)
            + "\nso a new run begins; `mainspring "
            f"data build --resume {run.id} --accept` would go on with it"
        )
    return None


def _to_resume(runs: Runs, run_id: str) -> Run:
    run = next((run for run in runs.list(KIND) if run.id == run_id), None)
    if run is None:
        runs.get(run_id)  # says that there is none
        raise UserError(f"{run_id} is not a run of `data build`.")
    if run.status == "done":
        raise UserError(f"{run_id} is done; its dataset is {run.result.get('dataset')}.")
    if run.status == "running":
        raise BusyError(f"{run_id} is running as process {run.pid}. Wait until it is done.")
    return run


@contextmanager
def _held(folder: Path, run: Run) -> Iterator[None]:
    """Hold a run's folder; the kernel frees it when its holder dies."""
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BusyError(f"{run.id} is being resumed by another process. Wait until it is done.") from None
    finally:
        os.close(handle)


def _written(folder: Path) -> Written | None:
    path = folder / PLAN
    return msgspec.json.decode(path.read_bytes(), type=Written) if path.exists() else None


def _recipe_of(run: Run, written: Written | None) -> Recipe:
    return build(Recipe, written.recipe if written else run.config)


def _settings(recipe: Recipe | None) -> dict[str, Any]:
    assert recipe is not None, "a new run has a recipe"
    return recipe.model_dump(mode="json")
