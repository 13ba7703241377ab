"""mainspring data classifier: learn to tell good documents from bad ones, for the rules of the pipeline."""

from pathlib import Path
from typing import Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, load_config, open_workspace
from mainspring.errors import UserError


def classifier(
    good: Annotated[
        Path, typer.Option("--good", metavar="FILE", help="Documents to be like, one JSON object a line.")
    ],
    bad: Annotated[
        Path, typer.Option("--bad", metavar="FILE", help="Documents to be unlike, one JSON object a line.")
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The name of the classifier.")],
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Train a classifier for the rules `quality` and `toxicity`, and test it on documents held out."""
    from mainspring.artifact import sha256_of, write
    from mainspring.data.classify import ClassifierSettings, train
    from mainspring.data.document import read_documents

    config = load_config(ClassifierSettings, files, settings)
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"'{name}' is no name for a classifier; use letters, digits, - and _.")
    for path in (good, bad):
        if not path.is_file():
            raise UserError(f"{path} is not a file; give documents as JSON lines with `id` and `text`.")
    trained, report = train(list(read_documents(good)), list(read_documents(bad)), config)
    with open_workspace(workspace, begin=True) as opened:
        facts = {"settings": config.model_dump(), "good": sha256_of(good), "bad": sha256_of(bad)}
        made = opened.registry.add(
            write(opened.registry.root, "classifier", name, trained.write, config=facts)
        )
        folder = opened.registry.folder(made)
    if as_json:
        show.result({"classifier": made.reference, "folder": folder, "report": report})
        return
    show.table(
        [
            ["classifier", made.reference],
            [
                "documents",
                f"{report.trained:,} trained, {report.calibrated:,} calibrated, {report.tested:,} tested",
            ],
            ["AUC", f"{report.auc:.3f}"],
            ["accuracy", f"{report.accuracy:.3f} (mean over both kinds)"],
            ["good kept", f"{report.kept_good:.3f}"],
            ["bad dropped", f"{report.dropped_bad:.3f}"],
            ["threshold", f"{report.threshold:.3f}"],
        ]
    )
    show.end(workspace, folder, "data build -c RECIPE")
