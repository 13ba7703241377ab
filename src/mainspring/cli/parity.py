"""mainspring parity: the model that was trained is the model that answers."""

from typing import Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, WorkspacePath, open_workspace, production
from mainspring.errors import MainspringError


def parity(
    url: Annotated[
        str | None, typer.Option("--url", help="A running server of this workspace; one is started if none.")
    ] = None,
    num_texts: Annotated[int, typer.Option("--texts", min=1, help="Texts generated on every path.")] = 3,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Compare ids and greedy text in training, evaluation and serving; exit 1 if they differ."""
    from mainspring.flywheel.parity import check

    with open_workspace(workspace) as opened:
        production(opened)
        report = check(opened, url, num_texts=num_texts)
    if as_json:
        show.result(report)
    else:
        show.table(
            [
                ["training examples", report.ids_checked, "ids equal" if report.ids_equal else "ids differ"],
                ["greedy texts", report.texts_checked, "equal" if report.text_equal else "differ"],
            ]
        )
        for difference in report.differences:
            print(f"  {difference}")
        show.end(workspace, workspace, "trace")
    if not (report.ids_equal and report.text_equal):
        raise MainspringError(
            f"training and serving are not the same model: {len(report.differences)} differences"
        )
