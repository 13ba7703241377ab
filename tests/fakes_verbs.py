"""Verbs of `mainspring data` as functions of a small command line of their own."""

import typer
from typer.testing import CliRunner


def caller(root, **verbs):
    """Runs a verb in the workspace `root`; gives its exit code and standard output."""
    app = typer.Typer()
    for name, verb in verbs.items():
        app.command(name)(verb)
    app.callback()(lambda: None)

    def run(*arguments):
        result = CliRunner().invoke(app, [*map(str, arguments), "--workspace", str(root)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout

    return run
