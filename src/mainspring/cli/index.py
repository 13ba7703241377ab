"""mainspring index: documents become a knowledge base that an assistant answers from."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import (
    DEFAULT,
    AsJson,
    Files,
    Settings,
    WorkspacePath,
    load_config,
    need_model,
    open_workspace,
)
from mainspring.errors import DocumentError, UserError

if TYPE_CHECKING:
    from mainspring.app import Workspace
    from mainspring.artifact import Artifact
    from mainspring.data.sources import Rejected, Source
    from mainspring.knowledge.sync import SyncReport


def index(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="[PATH]...", help="Folders and files of documents.")
    ] = None,
    packages: Annotated[
        bool,
        typer.Option("--packages", help="The documentation of the packages that Mainspring is made of."),
    ] = False,
    gold: Annotated[
        Path | None,
        typer.Option("--gold", help="Questions with answers; the first assistant is calibrated on them."),
    ] = None,
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Make the knowledge base hold exactly these documents; what did not change is not read anew.

    The assistant in production gets the new index at once; where there is none yet, the first one is made.
    """
    if not paths and not packages:
        raise UserError(
            "Nothing to index was given. Give folders or files (mainspring index FOLDER), or --packages for "
            "the documentation of the installed packages."
        )
    from mainspring.evaluate.gold import read_gold
    from mainspring.knowledge.lock import hold
    from mainspring.knowledge.sync import IndexSettings

    config = load_config(IndexSettings, files, settings)
    items = read_gold(gold) if gold else []
    sources = _sources(paths or [], config.max_bytes, with_packages=packages)
    with open_workspace(workspace, begin=True) as opened:
        need_model(opened, "minilm", "embeds the documents")
        with hold(workspace / "knowledge" / "index.lock", f"The index of {workspace}", WAIT_S):
            report, artifact = opened.index(sources, config)
            assistant, why = _assistant(opened, artifact, items)
        if gold and why != FIRST:
            typer.echo(f"--gold calibrates the first assistant only; {gold} was not used", err=True)
    if as_json:
        show.result({"index": artifact.reference, **_values(report), "assistant": assistant, "why": why})
        return
    _print(report, artifact, assistant, why)
    commands = ['ask "QUESTION"', "serve"] if assistant else ["fetch smollm2", "index PATH (again)"]
    show.end(workspace, workspace / "knowledge", *commands)


WAIT_S = 60.0  # for another process that indexes and moves the assistant to its index
FIRST = "the first assistant of this workspace"


def _assistant(workspace: "Workspace", artifact: "Artifact", items: list) -> tuple[str | None, str]:
    """The assistant that answers from this index now, and why it does."""
    from mainspring.app import ASSISTANT, CHAT_MODEL, IN_PRODUCTION, PRODUCTION
    from mainspring.flywheel.base_assistant import base_assistant, refresh
    from mainspring.flywheel.promote import promote

    if workspace.registry.labelled("assistant", ASSISTANT, PRODUCTION) is not None:
        refreshed = refresh(workspace, artifact)
        if refreshed is None:
            return workspace.registry.get(IN_PRODUCTION).reference, "answers from this index already"
        return refreshed.reference, promote(workspace, refreshed.reference)
    if not workspace.registry.has(f"model/{CHAT_MODEL}"):
        return None, f"the model '{CHAT_MODEL}', which answers, is not here yet"
    made = base_assistant(workspace, artifact, items)
    promote(workspace, made.reference)
    return made.reference, FIRST


def _sources(paths: list[Path], max_bytes: int, *, with_packages: bool) -> "list[Source | Rejected]":
    from mainspring.data import sources

    found: list[Source | Rejected] = []
    for path in paths:
        found += sources.folder(path, max_bytes) if path.is_dir() else [_file(path)]
    found += sources.packages() if with_packages else []
    twice = [name for name, count in Counter(entry.name for entry in found).items() if count > 1]
    if twice:
        raise UserError(
            f"{len(twice)} names stand for two documents each, '{twice[0]}' first. Index the folder that "
            "holds both, so that their paths differ."
        )
    return found


def _file(path: Path) -> "Source | Rejected":
    from mainspring.data.parse import READ_SUFFIXES, SUFFIXES
    from mainspring.data.sources import Rejected, Source

    if not path.exists():
        raise DocumentError(f"{path} does not exist. Give a folder or a file ({READ_SUFFIXES}).")
    format_name = SUFFIXES.get(path.suffix.lower())
    if format_name is None:
        reason = f"files with the suffix '{path.suffix}' are not read; {READ_SUFFIXES} are"
        return Rejected(name=path.name, reason=reason)
    return Source(name=path.name, format=format_name, path=path)


def _values(report: "SyncReport") -> dict[str, object]:
    from dataclasses import asdict

    return asdict(report)


def _print(report: "SyncReport", artifact: "Artifact", assistant: str | None, why: str) -> None:
    counts = ("added", "changed", "unchanged", "removed", "rejected")
    rows = [
        ["index", artifact.reference],
        ["documents", report.documents],
        ["chunks", report.chunks],
        *([name, len(getattr(report, name))] for name in counts),
        ["embedded", f"{report.embedded:,} chunks, {report.reused:,} found from before"],
        ["assistant", f"{assistant or 'none'}: {why}"],
    ]
    show.table(rows)
    if report.rejected:
        print()
        show.table([[entry.name, entry.reason] for entry in report.rejected], ["rejected", "reason"])
