"""mainspring scale: a ladder of small models, and the law by which larger ones can be foreseen."""

from typing import TYPE_CHECKING, Annotated

import typer

from mainspring.cli import show
from mainspring.cli.base import DEFAULT, AsJson, Files, Settings, WorkspacePath, open_workspace
from mainspring.errors import UserError

if TYPE_CHECKING:
    from mainspring.train.law_store import Stored

AHEAD = (1, 10, 100)  # times the work of the largest rung, for forecasts


def scale(
    preset: Annotated[str, typer.Argument(help="The recipe whose family of models is trained.")] = "pretrain",
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="TIME", help="Of the whole ladder: 90s, 30m, 2h.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with a ladder that was stopped.")
    ] = None,
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Train small models of several sizes and lengths, and fit how the loss falls with both."""
    if (budget is None) == (resume is None) or (resume is not None and (files or settings)):
        raise UserError(
            "Give --budget TIME for a new ladder, with -c and -o as for `mainspring train`; or --resume RUN alone."
        )
    with open_workspace(workspace) as opened:
        from mainspring.train.budget import parse_budget
        from mainspring.train.ladder import run_ladder
        from mainspring.train.law_store import read_law
        from mainspring.train.recipe import load_recipe

        seconds = parse_budget(budget) if budget else 0.0
        recipe = None if resume else load_recipe(preset, files or (), settings or ())
        made, run = run_ladder(opened.registry, opened.runs, recipe, seconds, resume=resume)
        stored, folder = read_law(opened.registry, made), opened.registry.folder(made)
    dataset = ", ".join(made.parents.values())
    if as_json:
        facts = {"law": stored.fit.law, "runs": stored.runs, "forecasts": _forecasts(stored)}
        show.result({made.kind: made.reference, "run": run.id, **facts, "folder": folder})
        return
    _print(stored)
    show.end(workspace, folder, f"train pretrain --budget 30m -o data.dataset={dataset}")


def _forecasts(stored: "Stored") -> list[dict[str, float]]:
    """The best size for so much more work than that of the largest run, with what it should come to."""
    most = max(6 * each.parameters * each.tokens for each in stored.runs)
    found = []
    for times in AHEAD:
        size, tokens = stored.fit.law.best_for(times * most)
        low, high = stored.fit.interval(size, tokens)
        loss = stored.fit.law.loss(size, tokens)
        found.append({
            "times": times, "parameters": size, "tokens": tokens, "loss": loss, "low": low, "high": high
        })  # fmt: skip
    return found


def _print(stored: "Stored") -> None:
    law = stored.fit.law
    rows = [
        [each.parameters, f"{each.tokens:,.0f}", f"{each.loss:.4f}", f"{law.loss(each.parameters, each.tokens):.4f}"]
        for each in stored.runs
    ]  # fmt: skip
    show.table(rows, ["parameters", "tokens", "held-out loss", "by the law"])
    print(
        f"\nL(N, D) = {law.e:.4g} + {law.a:.4g} / N^{law.alpha:.4g} + {law.b:.4g} / D^{law.beta:.4g}  nats a token\n"
    )
    rows = [
        [
            f"{each['times']:g} x the largest run", f"{each['parameters']:,.0f}", f"{each['tokens']:,.0f}",
            f"{each['loss']:.3f}", f"{each['low']:.3f} to {each['high']:.3f}",
        ]
        for each in _forecasts(stored)
    ]  # fmt: skip
    show.table(rows, ["work", "best parameters", "tokens", "forecast loss", "95 %"])
