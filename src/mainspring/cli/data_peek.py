"""mainspring data peek: documents of a dataset, and samples of what was dropped and changed for it."""

from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, WorkspacePath, open_workspace
from mainspring.errors import UserError

if TYPE_CHECKING:
    from mainspring.data.decisions import Sample
    from mainspring.data.document import Document

MAX_SHOWN = 600
INDENT = "    "


def peek(
    dataset: Annotated[str, typer.Argument(help="A dataset: NAME, or dataset/NAME@VERSION.")],
    rule: Annotated[str, typer.Option("--rule", help="Show what this rule dropped and changed.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Show what met this reason.")] = "",
    split: Annotated[
        str, typer.Option("--split", help="Show documents of this split; the first if none.")
    ] = "",
    count: Annotated[int, typer.Option("-n", min=1, help="Documents, or samples of each reason.")] = 5,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Show documents that were kept, or samples of what a rule dropped or changed, with the numbers."""
    if split and (rule or reason):
        raise UserError(
            "--split is for documents that were kept; --rule and --reason for those that were not."
        )
    from mainspring.data import peek as looking

    with open_workspace(workspace) as opened:
        artifact = opened.registry.get(dataset if "/" in dataset else f"dataset/{dataset}")
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
