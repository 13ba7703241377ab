"""The small verbs: doctor, fetch, train, serve."""

import contextlib
import json
import os
import socket
import sqlite3

import pytest
import torch

from converter_gguf import convert
from fakes_bpe import make_tokenizer
from mainspring.app import Workspace
from mainspring.models.families.base import family
from mainspring.models.load import load
from mainspring.models.model import Model
from mainspring.tokenizer.base import Tokenizer


def test_the_doctor_says_what_is_missing(run, tmp_path):
    code, out, _ = run("doctor", "--workspace", tmp_path / "nowhere", "--json")
    said = json.loads(out)
    assert code == 0
    assert said["advice"][-1] == "no workspace yet: mainspring fetch"
    assert not (tmp_path / "nowhere").exists()


def test_the_doctor_finds_damage_killed_runs_and_half_written_folders(run, root):
    (root / "artifacts" / ".writing-999999999-ab").mkdir()
    (root / "artifacts" / "model" / "minilm" / "1" / "model.safetensors").write_bytes(b"short")
    with Workspace(root) as workspace:
        (root / "artifacts" / ".writing-999999999-cd").mkdir()
        killed = workspace.runs.start("train", {})
    with contextlib.closing(sqlite3.connect(root / "mainspring.db")) as connection, connection:
        connection.execute("UPDATE runs SET pid = 999999999")
    said = json.loads(run("doctor", "--workspace", root, "--json")[1])
    assert said["workspace"]["models"] == ["model/smollm2@1"]
    assert said["workspace"]["swept"] == 1
    advice = "\n".join(said["advice"])
    assert f"mainspring train --resume {killed.id}" in advice
    assert "model.safetensors" in advice
    assert "no index" in advice


def test_a_model_without_a_known_name_needs_a_file(run, tmp_path):
    code, _, error = run("fetch", "unheard-of", "--workspace", tmp_path / "w")
    assert (code, "--from FILE" in error) == (2, True)
    code, _, error = run("fetch", "--from", tmp_path, "--workspace", tmp_path / "w")
    assert (code, "fetch NAME --from PATH" in error) == (2, True)


def test_a_model_comes_from_a_folder(run, root, tmp_path):
    source = root / "artifacts" / "model" / "smollm2" / "1"
    said = json.loads(run("fetch", "mine", "--from", source, "--workspace", tmp_path / "w", "--json")[1])
    assert said["models"][0]["reference"] == "model/mine@1"


def test_a_model_comes_from_a_gguf_file(run, tmp_path):
    torch.manual_seed(0)
    model = Model(family("qwen3").tiny())
    backend = make_tokenizer()._backend
    path = convert(model, tmp_path / "tiny.gguf", tokenizer=backend, pre="qwen2", eos_token_id=2)
    said = json.loads(run("fetch", "mine", "--from", path, "--workspace", tmp_path / "w", "--json")[1])
    assert said["models"][0]["reference"] == "model/mine@1"
    folder = tmp_path / "w" / "artifacts" / "model" / "mine" / "1"
    assert torch.equal(load(folder).embedding.weight, model.embedding.weight)
    assert Tokenizer.load(folder).encode("the owner") == make_tokenizer().encode("the owner")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "Rate answers"),
        (["-o", "transform.rnk=8"], "did you mean `transform.rank`?"),
        (["--resume", "train-none"], "runs list"),
        (["--accept"], "--resume RUN"),
        (["--resume", "x", "-o", "transform.rank=8"], "keeps its own settings"),
    ],
)
def test_what_cannot_be_trained_is_said_with_what_to_do(run, root, arguments, wanted):
    code, _, error = run("train", *arguments, "--workspace", root)
    assert code == 2
    assert wanted in error


def test_runs_are_listed_with_how_to_go_on(run, root):
    with Workspace(root) as workspace:
        failed = workspace.runs.start("train", {})
        workspace.runs.end(failed.id, "failed", {"error": "it broke"})
    _, out, _ = run("runs", "list", "--workspace", root)
    assert "it broke" in out
    assert f"mainspring train --resume {failed.id}" in out


def test_a_port_in_use_is_refused_before_a_model_is_loaded(run, root):
    (root / "artifacts" / "model" / "smollm2" / "1" / "model.safetensors").write_bytes(b"would not load")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        code, _, error = run("serve", "--port", other.getsockname()[1], "--workspace", root)
    assert code == 2
    assert "is in use" in error


def test_strangers_are_refused_before_a_model_is_loaded(run, root, monkeypatch):
    monkeypatch.delenv("MAINSPRING_API_KEY", raising=False)
    code, _, error = run("serve", "--host", "0.0.0.0", "--port", "0", "--workspace", root)
    assert code == 2
    assert "MAINSPRING_API_KEY" in error


def test_a_damaged_model_ends_the_server_before_it_is_ready(run, root):
    (root / "artifacts" / "model" / "smollm2" / "1" / "model.safetensors").write_bytes(b"would not load")
    code, _, error = run("serve", "--port", "0", "--workspace", root)
    assert code == 2
    assert "model.safetensors" in error
    assert "ready" not in error


def test_a_workspace_that_is_a_file_is_named(run, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, error = run("trace", "--workspace", tmp_path / "file")
    assert (code, "is not a folder" in error) == (2, True)


def test_the_workspace_may_come_from_the_environment(run, root, monkeypatch):
    monkeypatch.setitem(os.environ, "MAINSPRING_WORKSPACE", str(root))
    code, out, _ = run("trace")
    assert (code, "no request yet" in out) == (0, True)
