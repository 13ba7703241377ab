"""mainspring runs rerun: a run once more, by the configuration that it kept."""

from typing import TYPE_CHECKING

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, RunId, WorkspacePath, open_workspace
from mainspring.errors import UserError

if TYPE_CHECKING:
    from mainspring.app import Workspace
    from mainspring.artifact import Artifact
    from mainspring.runs import Run


def rerun(run_id: RunId, workspace: WorkspacePath = DEFAULT, as_json: AsJson = False) -> None:
    """Repeat a run by its stored configuration, and say whether the same came out."""
    with open_workspace(workspace) as opened:
        run = opened.runs.get(run_id)
        before = _made(opened, run)
        after, again = _repeat(opened, run)
        folder = opened.registry.folder(after)
    is_same = before is not None and before.files == after.files
    if as_json:
        first = before and before.reference
        show.result(
            {after.kind: after.reference, "run": again, "before": first, "same": is_same, "folder": folder}
        )
        return
    said = (
        "nothing"
        if before is None
        else f"{before.reference}, {'the same' if is_same else 'not the same'} files"
    )
    show.table([[after.kind, after.reference], ["run", again], [f"{run_id} made", said]])
    show.end(workspace, folder, f"runs compare {run_id} {again}")


def _repeat(workspace: "Workspace", run: "Run") -> "tuple[Artifact, str]":
    """What came out, and of which run."""
    from mainspring.config import build

    if run.kind == "train":
        from mainspring.train.recipe import Recipe
        from mainspring.train.run import run_recipe

        made, again = run_recipe(workspace.registry, workspace.runs, build(Recipe, run.config))
        return made, again.id
    if run.kind == "data":
        from mainspring.data.build import build_dataset
        from mainspring.data.recipe import Recipe as DataRecipe

        built = build_dataset(workspace.registry, workspace.runs, build(DataRecipe, run.config))
        return built.dataset, built.run
    raise UserError(
        f"{run.id} is a run of kind '{run.kind}'; runs of `train` and `data build` can be repeated."
    )


def _made(workspace: "Workspace", run: "Run") -> "Artifact | None":
    for kind in ("model", "adapter", "dataset"):
        if kind in run.result and workspace.registry.has(run.result[kind]):
            return workspace.registry.get(run.result[kind])
    return None
