"""mainspring eval: an assistant asked all held-out questions."""

from typing import TYPE_CHECKING

from mainspring.cli import show
from mainspring.cli.base import (
    DEFAULT,
    AnyAssistant,
    AsJson,
    GoldFile,
    WorkspacePath,
    ask_held_out,
    held_out,
    open_workspace,
)

if TYPE_CHECKING:
    from mainspring.evaluate.answers import Judged
    from mainspring.evaluate.gold import Gold

NUM_LOWEST = 5


def evaluate(
    gold: GoldFile,
    assistant: AnyAssistant = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Ask an assistant all held-out questions and compare its answers with the wanted ones."""
    from mainspring.evaluate.answers import judge, summarize

    items = held_out(gold)
    with open_workspace(workspace) as opened:
        artifact, pairs = ask_held_out(opened, assistant, items)
    judged = [judge(item, reply) for item, reply in pairs]
    summary = summarize(judged)
    if as_json:
        show.result({"assistant": artifact.reference, "summary": summary, "items": judged})
        return
    num_answerable = sum(item.is_answerable for item in items)
    show.table(
        [
            ["assistant", artifact.reference],
            ["questions", f"{num_answerable} with an answer, {len(items) - num_answerable} without"],
            ["token F1", f"{summary.f1:.3f}"],
            ["exact", f"{summary.exact:.0%}"],
            ["generated", f"{summary.generated:.0%} of those with an answer"],
            ["extracted", f"{summary.extracted:.0%} of those with an answer"],
            ["abstained", f"{summary.abstained_answerable:.0%} of those with an answer"],
            ["abstained", f"{summary.abstained_unanswerable:.0%} of those without"],
        ]
    )
    _print_lowest(items, judged)
    show.end(workspace, gold, f"gate ASSISTANT --gold {gold}", f"flywheel run --gold {gold}")


def _print_lowest(items: "list[Gold]", judged: "list[Judged]") -> None:
    scored = [(each.f1, item, each) for item, each in zip(items, judged, strict=True) if each.f1 is not None]
    print(f"\nthe {min(NUM_LOWEST, len(scored))} lowest")
    show.table(
        [
            [item.id, f"{f1:.2f}", show.shorten(item.answer or "", 40), show.shorten(each.generated, 80)]
            for f1, item, each in sorted(scored, key=lambda row: row[0])[:NUM_LOWEST]
        ],
        ["question", "F1", "wanted", "generated"],
    )
