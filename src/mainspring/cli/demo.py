"""`mainspring demo`: the whole thread."""

from pathlib import Path
from typing import Annotated

import typer

from mainspring.cli.base import AsJson, WorkspacePath
from mainspring.errors import UserError

EXAMPLES = Path(__file__).parents[3] / "examples" / "questions.jsonl"

Docs = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Your documents; without them, the packages' own documentation."),
]
GoldAnswers = Annotated[
    Path | None,
    typer.Option(
        "--gold", metavar="FILE", help="Your questions with answers, as in examples/questions.jsonl."
    ),
]


def demo(
    workspace: WorkspacePath, *, docs: Docs = None, gold: GoldAnswers = None, as_json: AsJson = False
) -> None:
    """Documents in, a tuned, gated, served assistant out: nine steps on real models."""
    if docs is not None and not docs.is_dir():
        raise UserError(f"`--docs {docs}` is not a folder; give one with .md, .rst or .txt files.")
    from mainspring.demo.run import run
    from mainspring.evaluate.gold import read_gold

    if gold is None and docs is None and EXAMPLES.exists():
        gold = EXAMPLES
    path = run(workspace, docs, read_gold(gold) if gold else [])
    print(path.read_text(encoding="utf-8") if as_json else path)
