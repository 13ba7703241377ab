"""mainspring constitution: lessons and pairs that a model makes of its own answers by principles, and their review."""

from collections import Counter
from typing import Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.cli.data_shard import dataset_reference
from mainspring.errors import UserError

app = typer.Typer(
    help="Let a model revise and compare its answers by principles, for review.", invoke_without_command=True
)
Resume = Annotated[
    str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that was stopped.")
]


@app.callback()
def constitution(
    ctx: typer.Context,
    files: Files = None,
    settings: Settings = None,
    resume: Resume = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Let a model revise and compare its answers by principles, for review."""
    if ctx.invoked_subcommand is not None:
        return
    check_usage(files, settings, resume)
    from mainspring.train.constitution import ConstitutionConfig, constitute
    from mainspring.train.review import REVIEW

    config = None if resume else load_config(ConstitutionConfig, files, settings)
    with open_workspace(workspace) as opened:
        kept, run, made = constitute(opened.registry, opened.runs, config, opened.chat_model, resume=resume)
        folders = [opened.registry.folder(each) for each in kept]
    dropped = Counter(reason for each in made for reason in each.dropped)
    if as_json:
        datasets = {each.reference: each.config["entries"] for each in kept}
        show.result({"datasets": datasets, "run": run.id, "dropped": dropped, "folders": folders})
        return
    show.table([[each.reference, each.config["entries"]] for each in kept], ["dataset", "entries to review"])
    tell_dropped(dropped)
    for each, folder in zip(kept, folders, strict=True):
        show.end(workspace, folder / REVIEW, f"constitution accept {each.name}")


@app.command("accept")
def accept(
    dataset: Annotated[str, typer.Argument(help="A dataset that was read: NAME, or dataset/NAME@VERSION.")],
    without: Annotated[
        str, typer.Option("--without", metavar="2,7", help="Entries of review.md to leave out.")
    ] = "",
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Say that a dataset was read, so that it may be learnt."""
    from mainspring.train.review import accept as let

    try:
        numbers = {int(each) for each in without.split(",") if each.strip()}
    except ValueError:
        raise UserError(f"--without is '{without}'; write numbers of entries with commas: 2,7.") from None
    with open_workspace(workspace) as opened:
        found = opened.registry.get(dataset_reference(dataset))
        made = let(opened.registry, found, numbers)
        folder = opened.registry.folder(made)
    if as_json:
        show.result({"dataset": made.reference, "left_out": sorted(numbers), "folder": folder})
        return
    show.table([["reviewed", made.reference], ["left out", len(numbers)]])
    preset = "dpo" if made.name.endswith("-pairs") else "sft"
    show.end(workspace, folder, f"train {preset} -o data.dataset={made.reference}")


def check_usage(files: Files, settings: Settings, resume: str | None) -> None:
    """Raise UserError unless a run is described or named, one of both."""
    if bool(files or settings) == (resume is not None):
        raise UserError(
            "Give -c FILE or -o KEY=VALUE with at least `name` and `prompts` for a new run; or --resume RUN alone."
        )


def tell_dropped(dropped: Counter[str]) -> None:
    """How many prompts came to nothing, by the reason."""
    for reason, count in dropped.most_common():
        print(f"not kept: {count:,}, because {reason}")
