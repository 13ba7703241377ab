"""mainspring flywheel: feedback to the next promoted version, as one turn."""

from typing import TYPE_CHECKING

import typer

from mainspring.cli import show
from mainspring.cli.base import (
    DEFAULT,
    AsJson,
    Files,
    GoldFile,
    Settings,
    WorkspacePath,
    held_out,
    load_config,
    open_workspace,
    production,
)
from mainspring.cli.gate import print_report, refuse

if TYPE_CHECKING:
    from mainspring.flywheel.loop import Turn

app = typer.Typer(help="Turn feedback into the next version, if the gate lets it pass.", no_args_is_help=True)


@app.callback()
def flywheel() -> None:
    """Turn feedback into the next version, if the gate lets it pass."""


@app.command("run")
def run(
    gold: GoldFile,
    files: Files = None,
    settings: Settings = None,
    workspace: WorkspacePath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Collect all feedback, train an adapter, hold it to the gate, promote it; exit 3 if refused."""
    from mainspring.flywheel.loop import FlywheelConfig, turn

    config = load_config(FlywheelConfig, files, settings)
    items = held_out(gold)
    with open_workspace(workspace) as opened:
        production(opened)
        done = turn(opened, config, items)
        folder = opened.registry.folder(opened.registry.get(done.evaluation))
    if as_json:
        show.result(done)
    else:
        _print(done)
        commands = ["promote --rollback", "serve"] if done.promoted else ["serve", "runs list"]
        show.end(workspace, folder, *commands)
    refuse(done.gate, done.candidate)


def _print(done: "Turn") -> None:
    show.table(
        [
            ["dataset", f"{done.dataset}: {done.lessons} lessons, {done.dropped} dropped"],
            ["run", done.run],
            ["adapter", done.adapter],
            ["candidate", done.candidate],
            ["evaluation", done.evaluation],
            ["production", done.promoted or f"{done.base}, as before"],
        ]
    )
    print()
    print_report(done.gate, done.nll)
