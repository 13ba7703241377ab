"""mainspring runs: what is left of runs, told, drawn, repeated, forgotten."""

import json
import os
import sys
import time

import pytest

from fakes_workspace import lesson, recipe, tune
from mainspring.app import Workspace
from mainspring.flywheel import curate
from mainspring.train.metrics import Metrics, StepReport

PNG = b"\x89PNG"
PAST = time.time() - 40 * 86_400


def report(step, loss, *, valid=None):
    metrics = {} if valid is None else {"valid_loss": valid}
    return StepReport(
        step=step, loss=loss, lr=1e-3, grad_norm=1.0, tokens=20, trained_tokens=10.0, seconds=0.5, metrics=metrics
    )  # fmt: skip


def add_run(workspace, losses, config, status="done"):
    run = workspace.runs.start("train", config)
    metrics = Metrics(workspace.runs.folder(run.id), 0)
    for step, (loss, valid) in enumerate(losses, start=1):
        metrics.write(report(step, loss, valid=valid))
    workspace.runs.end(run.id, status, {"adapter": "adapter/a@1"})
    return run.id


@pytest.fixture
def two(root):
    """A run of three steps and one of two that was stopped."""
    with Workspace(root) as workspace:
        first = add_run(
            workspace, [(3.0, None), (1.0, 2.5), (2.0, 2.75)], {"train": {"optim": {"lr": 0.1}}, "name": "a"}
        )
        second = add_run(
            workspace, [(4.0, None), (float("nan"), None)], {"train": {"optim": {"lr": 0.2}}, "name": "a"}, "failed"
        )  # fmt: skip
    return root, first, second


def test_runs_are_listed_and_one_is_shown_whole(run, two):
    root, first, second = two
    code, out, _ = run("runs", "list", "--workspace", root)
    assert code == 0
    assert out.index(second) < out.index(first)
    assert f"next  mainspring train --resume {second}" in out
    assert json.loads(run("runs", "list", "--kind", "data", "--workspace", root, "--json")[1]) == {"runs": []}
    said = json.loads(run("runs", "show", first, "--workspace", root, "--json")[1])
    outcome = said["outcome"]
    assert (outcome["steps"], outcome["tokens"], outcome["tokens_per_s"]) == (3, 60, 40.0)
    assert (outcome["loss"], outcome["min_loss"], outcome["min_loss_step"]) == (2.0, 1.0, 2)
    assert (outcome["valid_loss"], outcome["best_valid_loss"], outcome["best_valid_step"]) == (2.75, 2.5, 2)
    assert list(said["files"]) == ["metrics.jsonl"]
    out = run("runs", "show", first, "--workspace", root)[1]
    assert "    lr: 0.1" in out
    assert "1.0000 (step 2)" in out


def test_a_comparison_names_what_differs_and_the_losses_on_the_way(run, two):
    root, first, second = two
    arguments = ("runs", "compare", first, second, "--workspace", root)
    said = json.loads(run(*arguments, "--json")[1])["comparison"]
    assert said["differences"] == {"train.optim.lr": [0.1, 0.2]}
    by_step = said["over_steps"]
    assert len(by_step["places"]) == 10
    assert [each for each in by_step["losses"][first] if each is not None] == [3.0, 1.0, 2.0]
    assert [each for each in by_step["losses"][second] if each is not None] == [4.0]  # the other is no number
    assert said["over_trained_tokens"]["places"][-1] == 30
    out = run(*arguments)[1]
    assert "train.optim.lr  0.1" in out
    code, _, error = run("runs", "compare", first, first, "--workspace", root)
    assert (code, "name two or more" in error) == (2, True)


@pytest.mark.slow
def test_runs_are_drawn_or_told_what_is_missing_for_it(run, two, tmp_path, monkeypatch):
    root, first, second = two
    picture = tmp_path / "both.png"
    assert run("runs", "compare", first, second, "--plot", picture, "--workspace", root)[0] == 0
    assert picture.read_bytes().startswith(PNG)
    code, out, _ = run("runs", "plot", first, "--workspace", root)
    assert (code, f"{first}/metrics.png" in out) == (0, True)
    assert (root / "runs" / first / "metrics.png").read_bytes().startswith(PNG)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, error = run("runs", "plot", first, "--workspace", root)
    assert (code, "pip install 'mainspring[plot]'" in error) == (2, True)


def test_only_a_run_that_has_ended_is_forgotten_and_only_if_told_so(run, two):
    root, first, _ = two
    code, _, error = run("runs", "forget", first, "--workspace", root)
    assert (code, f"forget {first} --yes" in error) == (2, True)
    assert run("runs", "forget", first, "--yes", "--workspace", root)[0] == 0
    assert not (root / "runs" / first).exists()
    code, _, error = run("runs", "show", first, "--workspace", root)
    assert (code, "runs list" in error) == (2, True)
    with Workspace(root) as workspace:
        going = workspace.runs.start("train", {})
    code, _, error = run("runs", "forget", going.id, "--yes", "--workspace", root)
    assert (code, f"running as process {os.getpid()}" in error) == (2, True)


def test_old_stopped_runs_are_listed_before_they_go(run, two):
    root, first, second = two
    with Workspace(root) as workspace, workspace._database.write() as connection:
        connection.execute("UPDATE runs SET started = ?, ended = ?", (PAST, PAST))
    assert "0 runs that were stopped more than 30 days" in run("runs", "clean", "--workspace", root)[1]
    for name in (first, second):
        os.utime(root / "runs" / name / "metrics.jsonl", (PAST, PAST))
    out = run("runs", "clean", "--workspace", root)[1]
    assert "1 runs that were stopped more than 30 days ago would be forgotten" in out
    assert (root / "runs" / second).exists()
    out = run("runs", "clean", "--yes", "--workspace", root)[1]
    assert [(root / "runs" / name).exists() for name in (first, second)] == [True, False]


@pytest.mark.slow
def test_a_run_is_repeated_to_the_same_files(run, root):
    with Workspace(root) as workspace:
        curate.save(workspace, [lesson(number) for number in range(4)], [])
        adapter, first = tune(workspace, recipe(epochs=1))
        curate.save(workspace, [lesson(9)], [])  # a newer dataset is not this run's
    said = json.loads(run("runs", "rerun", first.id, "--workspace", root, "--json")[1])
    assert said["before"] == adapter.reference
    assert said["adapter"] != adapter.reference
    assert said["same"] is True
    with Workspace(root) as workspace:
        other = workspace.runs.start("mystery", {})
    code, _, error = run("runs", "rerun", other.id, "--workspace", root)
    assert (code, "kind 'mystery'" in error) == (2, True)
