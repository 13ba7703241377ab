"""The demo's figures, as a file and as a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from mainspring.app import Workspace
from mainspring.demo.server import Asked
from mainspring.errors import NotFoundError
from mainspring.knowledge.scope import Scope
from mainspring.progress import say


class Report(msgspec.Struct, kw_only=True):
    """demo/report.json. Fields of skipped steps are null; sizes are bytes, times seconds."""

    documents: int = 0
    chunks: int = 0
    questions: int = 0
    answered: int = 0
    abstained: int = 0
    citations: int = 0
    citations_resolved: int = 0
    citations_supported: int = 0
    gate: dict[str, Any] | None = None
    parity: dict[str, Any] | None = None
    server: dict[str, Any] | None = None
    peak_rss_bytes: int = 0
    wall_s: dict[str, float] = {}


def count(report: Report, workspace: Workspace, answers: Sequence[Asked], support: float) -> None:
    """Add served answers to the report; every citation is looked up in the stored text."""
    for asked in answers:
        report.questions += 1
        abstained = asked.answer["kind"] == "abstained"
        report.abstained += abstained
        report.answered += not abstained
        for citation in asked.answer["citations"]:
            report.citations += 1
            report.citations_resolved += _resolves(workspace, citation)
            report.citations_supported += citation["support"] >= support


def _resolves(workspace: Workspace, citation: dict[str, Any]) -> bool:
    try:
        text = workspace.store().document(citation["document"], Scope()).text
    except NotFoundError:
        return False
    return text[citation["start"] : citation["end"]] == citation["quote"]


def write(report: Report, workspace: Workspace) -> Path:
    path = workspace.root / "demo" / "report.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return path


def closing_table(workspace: Workspace, path: Path) -> None:
    """What was made, where it lies, which command comes next."""
    root, registry = workspace.root, workspace.registry
    rows = [
        ("models", registry.list("model"), "mainspring doctor"),
        ("index", registry.list("index")[-1:], "mainspring index FOLDER"),
        ("feedback", registry.list("dataset")[-1:], "mainspring runs list"),
        ("adapter", registry.list("adapter")[-1:], "mainspring train"),
        ("evaluation", registry.list("evaluation")[-1:], "mainspring eval --gold FILE"),
        ("assistant", registry.list("assistant"), "mainspring promote --rollback"),
    ]
    lines = [("what", "made", "lies in", "next")]
    for what, references, command in rows:
        lines += [(what, each, _place(workspace, each), command) for each in references]
    num_answers = len(workspace.log.find(type="answer"))
    lines.append(("traces", f"{num_answers:,} answers", "mainspring.db", "mainspring trace"))
    lines.append(("report", "figures of this run", str(path.relative_to(root)), "mainspring serve"))
    widths = [max(len(line[column]) for line in lines) + 2 for column in range(4)]
    for line in lines:
        say("     " + "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if root != Path("workspace"):
        say(f"     the commands take --workspace {root}, or MAINSPRING_WORKSPACE={root}")


def _place(workspace: Workspace, reference: str) -> str:
    return str(workspace.registry.folder(workspace.registry.get(reference)).relative_to(workspace.root))
