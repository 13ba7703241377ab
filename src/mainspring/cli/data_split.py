"""mainspring data split: a dataset of documents to one with other splits, by hash, by time or in folds."""

from typing import Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.cli.data_shard import dataset_reference

HEADS = ["split", "documents", "groups", "labels"]


def split(
    dataset: Annotated[str, typer.Argument(help="A dataset of documents: NAME, or dataset/NAME@VERSION.")],
    name: Annotated[str, typer.Option("--name", help="Of the new dataset; NAME-split if none.")] = "",
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Split the documents of a dataset by group, by time or into folds."""
    from mainspring.data.split import SplitConfig, split_dataset

    config = load_config(SplitConfig, files, settings)
    with open_workspace(workspace) as opened:
        source = opened.registry.get(dataset_reference(dataset), verify=True)
        made, counts = split_dataset(opened.registry, source, config, name=name or f"{source.name}-split")
        folder = opened.registry.folder(made)
    if as_json:
        show.result({"dataset": made.reference, "splits": counts, "folder": folder})
        return
    show.table([["dataset", made.reference], ["documents", source.reference]])
    print()
    rows = [
        [
            each,
            found.documents,
            found.groups,
            ", ".join(f"{label or '-'} {n:,}" for label, n in found.labels.items()),
        ]
        for each, found in counts.items()
    ]
    show.table(rows, HEADS)
    show.end(workspace, folder, f"data doctor {made.name}", f"data shard {made.name} --tokenizer NAME")
