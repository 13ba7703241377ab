"""The command line as a whole: what it imports, its order, its exit codes."""

import importlib
import subprocess
import sys

import pytest

from mainspring import cli
from mainspring.life import STAGES

VERBS = [command for stage in STAGES for command in stage.commands]
HELP = """
import sys
sys.argv = ["mainspring", *{arguments}]
from mainspring.cli import main
try:
    main()
except SystemExit as end:
    print(" ".join({{name.partition(".")[0] for name in sys.modules}}), file=sys.stderr)
    raise
"""
HEAVY = {"torch", "starlette", "numpy", "yaml", "rich", "tokenizers"}


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {*HEAVY, "pydantic"}),
        (["index", "--help"], HEAVY),  # typer itself brings pydantic once it reads a verb's options
        (["flywheel", "run", "--help"], HEAVY),
    ],
)
def test_help_imports_nothing_heavy(arguments, heavy):
    code = HELP.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Usage: mainspring" in done.stdout
    assert heavy & set(done.stderr.split()) == set()


def test_the_verbs_stand_in_the_order_of_life(run):
    _, out, _ = run("--help")
    listed = [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()]
    assert [verb for verb in listed if verb not in ("demo", "doctor")] == VERBS
    assert "doctor" in listed


@pytest.mark.parametrize("verb", ["doctor", *VERBS])
def test_every_verb_has_help_and_a_module(run, verb):
    code, out, _ = run(verb, "--help")
    assert code == 0
    assert f"Usage: mainspring {verb}" in out
    assert importlib.import_module(f"mainspring.cli.{verb}")


def test_an_unknown_verb_is_wrong_usage(run):
    code, out, error = run("fly")
    assert (code, out) == (2, "")
    assert "fly" in error


def test_an_interrupted_verb_says_one_line(run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mainspring.cli.doctor._machine", interrupt)
    assert run("doctor") == (130, "", "stopped\n")


def test_the_package_runs_as_a_module():
    command = [sys.executable, "-m", "mainspring", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Commands:" in done.stdout


def test_every_verb_is_in_the_order():
    assert {"demo", "doctor", *VERBS} == set(cli.ORDER)
