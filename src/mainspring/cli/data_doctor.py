"""mainspring data doctor: faults of a dataset that ruin a training run without an error."""

from pathlib import Path
from typing import Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, WorkspacePath, open_workspace
from mainspring.cli.data_shard import dataset_reference


def doctor(
    dataset: Annotated[str, typer.Argument(help="A dataset: NAME, or dataset/NAME@VERSION.")],
    model: Annotated[str, typer.Option("--model", help="The model that is to learn from it.")] = "",
    gold: Annotated[
        list[Path] | None,
        typer.Option("--gold", help="A file of evaluation questions, beside the known sets."),
    ] = None,
    labels: Annotated[
        str, typer.Option("--labels", help="Labels that documents may bear: 0:4, or no,maybe,yes.")
    ] = "",
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Look for ten classical faults of training data; exit code 1 if there are any."""
    from mainspring.data.doctor.examine import CHECKS, examine
    from mainspring.data.doctor.view import open_view

    with open_workspace(workspace) as opened:
        found = opened.registry.get(dataset_reference(dataset), verify=True)
        view = open_view(opened.registry, found, model=model, gold_files=gold or (), labels=labels)
        faults = list(examine(view))
        folder = opened.registry.folder(found)
    if as_json:
        show.result(
            {"dataset": found.reference, "checks": [check.name for check in CHECKS], "faults": faults}
        )
        raise typer.Exit(1 if faults else 0)
    for fault in faults:
        numbers = "  ".join(f"{name} {number:,g}" for name, number in fault.numbers.items())
        print(f"{fault.check}: {fault.what}")
        show.table(
            [["    where", fault.where], ["    count", numbers or "all"], ["    advice", fault.advice]]
        )
    met = len({fault.check for fault in faults})
    print(
        f"{found.reference}: {met} of {len(CHECKS)} faults found"
        if faults
        else f"{found.reference}: no faults"
    )
    show.end(workspace, folder, f"data peek {dataset}")
    raise typer.Exit(1 if faults else 0)
