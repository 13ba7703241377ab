"""The command line: one module a verb, in the order of a model's life (life.py).

Modules of verbs import their rooms when they run, so that `mainspring --help` answers at once.
"""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from mainspring.cli import (
    ask,
    bench,
    calibrate,
    constitution,
    data,
    demo,
    doctor,
    fetch,
    flywheel,
    gate,
    index,
    merge,
    models,
    parity,
    promote,
    prompt,
    replay,
    runs,
    scale,
    serve,
    teach,
    tokenizer,
    trace,
    train,
    tune,
)
from mainspring.cli import eval as evaluate
from mainspring.errors import MainspringError
from mainspring.life import STAGES

INTERRUPTED = 130  # what a shell gives a process that Ctrl+C ended

ORDER = ("demo", "doctor", *(command for stage in STAGES for command in stage.commands))


class InOrderOfLife(TyperGroup):
    """Lists the verbs as life.py orders the stages that they lead into."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    name="mainspring",
    cls=InOrderOfLife,
    help="A language model's whole life on its owner's machines: documents in, a tuned, gated, served "
    "assistant out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.command("fetch")(fetch.fetch)
app.add_typer(tokenizer.app, name="tokenizer")
app.add_typer(models.app, name="models")
app.command("train")(train.train)
app.command("tune")(tune.tune)
app.command("scale")(scale.scale)
app.command("teach")(teach.teach)
app.add_typer(constitution.app, name="constitution")
app.add_typer(runs.app, name="runs")
app.command("merge")(merge.merge)
app.command("parity")(parity.parity)
app.command("replay")(replay.replay)
app.command("trace")(trace.trace)
app.command("serve")(serve.serve)
app.add_typer(bench.app, name="bench")
app.command("index")(index.index)
app.command("ask")(ask.ask)
app.add_typer(prompt.app, name="prompt")
app.command("eval")(evaluate.evaluate)
app.command("calibrate")(calibrate.calibrate)
app.command("gate")(gate.gate)
app.add_typer(flywheel.app, name="flywheel")
app.command("promote")(promote.promote)


def main() -> None:
    """Run a verb; every failure that is Mainspring's own is one line and an exit code (errors.py)."""
    try:
        app(prog_name="mainspring")
    except MainspringError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _stop()
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer turns Ctrl+C within a verb into this
            _stop()
        raise


def _stop() -> None:
    print("stopped", file=sys.stderr)
    sys.exit(INTERRUPTED)
