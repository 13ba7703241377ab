"""mainspring data peek: documents of a dataset, samples of what was dropped and changed for it, and tokens."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, open_workspace
from mainspring.cli.data_shard import dataset_reference
from mainspring.cli.data_tokens import peek_tokens
from mainspring.errors import UserError

if TYPE_CHECKING:
    from mainspring.data.decisions import Sample
    from mainspring.data.document import Document

MAX_SHOWN = 600
NUM_SHOWN = 5
INDENT = "    "


def peek(
    datasets: Annotated[
        list[str], typer.Argument(help="A dataset: NAME, or dataset/NAME@VERSION; several with --packed.")
    ],
    rule: Annotated[str, typer.Option("--rule", help="Show what this rule dropped and changed.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Show what met this reason.")] = "",
    split: Annotated[str, typer.Option("--split", help="Which part of the dataset; the first if none.")] = "",
    count: Annotated[
        int | None,
        typer.Option("-n", "--count", min=1, help="Documents, samples of each reason, segments, rows."),
    ] = None,
    is_tokens: Annotated[
        bool, typer.Option("--tokens", help="Show every token of a dataset of shards, with its weight.")
    ] = False,
    is_packed: Annotated[
        bool, typer.Option("--packed", help="Show tokens as a loader packs them; -c and -o are the loader's.")
    ] = False,
    first: Annotated[int, typer.Option("--segment", min=0, help="Of tokens, the first segment to show.")] = 0,
    document: Annotated[str, typer.Option("--document", help="Of tokens, those of this document.")] = "",
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show kept documents, samples of what a rule dropped or changed, or the tokens of shards."""
    if is_tokens or is_packed:
        if rule or reason:
            raise UserError(
                "--rule and --reason are of documents; a dataset of shards has none. Leave them out."
            )
        peek_tokens(
            datasets, split or "train", first, count or 1, document, is_packed, files, settings, workspace, as_json
        )  # fmt: skip
        return
    if len(datasets) > 1 or first or document or files or settings:
        raise UserError("--segment, --document, -c, -o and several datasets are for --tokens or --packed.")
    if split and (rule or reason):
        raise UserError(
            "--split is for documents that were kept; --rule and --reason for those that were not."
        )
    _peek(datasets[0], split, rule, reason, count or NUM_SHOWN, workspace, as_json=as_json)


def _peek(
    dataset: str, split: str, rule: str, reason: str, count: int, workspace: Path, *, as_json: bool
) -> None:
    from mainspring.data import peek as looking

    with open_workspace(workspace) as opened:
        artifact = opened.registry.get(dataset_reference(dataset))
        folder = opened.registry.folder(artifact)
        report = looking.read_report(folder)
        if rule or reason:
            shown: list[Document] | list[Sample] = looking.samples(folder, rule, reason, count)
        else:
            shown = looking.documents(folder, split or next(iter(report.splits)), count)
    if as_json:
        show.result({"dataset": artifact.reference, "shown": shown})
        return
    for each in shown:
        print(_head(each))
        for text in _texts(each):
            print(INDENT + text.replace("\n", f"\n{INDENT}"))
        print()
    reasons = [
        [name, why, each.documents]
        for name, step in report.steps.items()
        for why, each in {**step.dropped, **step.changed}.items()
    ]
    show.table(reasons, ["rule", "reason", "documents"])
    commands = [f"data peek {dataset} --rule {reasons[0][0]}"] if reasons else []
    show.end(workspace, folder, *commands)


def _head(each: "Document | Sample") -> str:
    """Who a document is, and what became of it."""
    from mainspring.data.document import Document

    if isinstance(each, Document):
        facts = {"group": each.group, "time": each.time, **each.meta}
        told = "  ".join(f"{name} {value}" for name, value in facts.items() if value not in ("", None))
        return f"{each.id}  {show.shorten(told)}".rstrip()
    numbers = "  ".join(f"{name} {value:g}" for name, value in each.numbers.items() if value is not None)
    sake = f"  for the sake of {each.of}" if each.of else ""
    return f"{each.id}  {each.fate} by {each.rule}: {each.reason}  {numbers}".rstrip() + sake


def _texts(each: "Document | Sample") -> list[str]:
    from mainspring.data.document import Document

    if isinstance(each, Document):
        cut = each.text[:MAX_SHOWN]
        return [cut if len(cut) == len(each.text) else f"{cut} ... ({len(each.text):,} characters)"]
    return [each.text, "became", each.after] if each.after else [each.text]
