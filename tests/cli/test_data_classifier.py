import json

import typer
from typer.testing import CliRunner

from fakes_prose import made_up, prose
from mainspring.cli.data_classifier import classifier
from mainspring.data.classifier import Classifier
from mainspring.data.document import Document, write_documents
from mainspring.errors import UserError


def run(*arguments):
    app = typer.Typer()
    app.command("classifier")(classifier)
    return CliRunner().invoke(app, list(map(str, arguments)))


def files(folder):
    import random

    rng = random.Random(0)
    good = [Document(id=f"good#{at}", text=prose(rng, 5)) for at in range(150)]
    write_documents(folder / "good.jsonl", good)
    bad = [
        Document(id=f"bad#{at}", text=" ".join(document.text.lower().split()[:60]))
        for at, document in enumerate(made_up(190))
    ]
    write_documents(folder / "bad.jsonl", bad)
    return ["--good", folder / "good.jsonl", "--bad", folder / "bad.jsonl"]


def test_a_classifier_is_trained_into_an_artifact_that_can_be_used(tmp_path):
    options = [*files(tmp_path), "--workspace", tmp_path / "workspace", "-o", "bucket_bits=12"]
    told = run(*options, "--name", "prose", "--json")
    assert told.exit_code == 0, told.output
    result = json.loads(told.stdout)
    assert result["classifier"] == "classifier/prose@1"
    assert result["report"]["auc"] > 0.9
    from pathlib import Path

    assert Classifier.read(Path(result["folder"])).threshold == result["report"]["threshold"]
    table = run(*options, "--name", "prose")
    assert "classifier/prose@2" in table.stdout
    assert "next  mainspring data build" in table.stdout


def test_a_name_with_a_slash_and_a_file_that_is_not_there_are_errors(tmp_path):
    options = [*files(tmp_path), "--workspace", tmp_path / "workspace"]
    assert isinstance(run(*options, "--name", "../x").exception, UserError)
    options[1] = tmp_path / "none.jsonl"
    assert isinstance(run(*options, "--name", "x").exception, UserError)
    assert not (tmp_path / "workspace").exists()
