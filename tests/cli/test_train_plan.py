"""mainspring train --plan, and a run that is gone on with by another setting."""

import json

import pytest

from mainspring.app import Workspace
from mainspring.errors import MainspringError
from mainspring.train.recipe import load_recipe
from mainspring.train.run import run_recipe

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(tmp_path):
    """Options of a run over six conversations, of which two are the same."""
    path = tmp_path / "chats.jsonl"
    answers = ("red", "green it is", "blue", "no", "yes", "red")
    lines = [
        [{"role": "user", "content": "which one?"}, {"role": "assistant", "content": answer}]
        for answer in answers
    ]
    path.write_text("".join(json.dumps({"messages": each}) + "\n" for each in lines))
    (tmp_path / "train.yaml").write_text(
        f"data: {{kind: chats, dataset: {path}}}\n"
        "train: {items_per_step: 2, save_every_steps: 1, plan: {threads: 1, micro_batch_tokens: 1024}}\n"
    )
    return ["-c", tmp_path / "train.yaml"]


def test_a_plan_says_what_was_seen_and_what_it_would_take(run, root, settings):
    code, out, error = run("train", "--plan", *settings, "--workspace", root)
    assert code == 0, error
    assert "6 items, 6 segments" in out
    assert "items that stood there before  1" in out
    assert "faults of the datasets" in out
    assert "memory at its peak (GB)" in out
    code, out, _ = run("train", "--plan", *settings, "--workspace", root, "--json")
    said = json.loads(out)
    assert (said["data"]["items"], said["faults"], said["forecast"]["num_steps"]) == (6, [], 3)
    with Workspace(root) as workspace:
        assert workspace.runs.list() == []


def test_a_plan_refuses_what_could_not_be_kept(run, root, settings):
    more = ["-o", "penalties=[{kind: moe_bias}]"]
    code, _, error = run("train", "--plan", *settings, *more, "--workspace", root)
    assert (code, "moves biases of the base's routers" in error) == (2, True)


def test_a_run_that_failed_goes_on_with_another_setting_if_that_is_accepted(run, root, settings):
    def stop(report):
        raise MainspringError("no more memory")

    said = load_recipe("feedback", [settings[1]])
    with Workspace(root) as workspace, pytest.raises(MainspringError):
        run_recipe(workspace.registry, workspace.runs, said, on_step=stop)
    with Workspace(root) as workspace:
        (failed,) = workspace.runs.list("train")
    less = ["-o", "train.plan.micro_batch_tokens=64"]
    code, _, error = run("train", "--resume", failed.id, *less, "--workspace", root)
    assert (code, "--accept to go on with another setting" in error) == (2, True)
    code, _, error = run("train", "--resume", failed.id, "--accept", *less, "--workspace", root)
    assert code == 0, error
    assert "changes accepted" in error
    with Workspace(root) as workspace:
        (done,) = workspace.runs.list("train")
        assert (done.status, done.config["train"]["plan"]["micro_batch_tokens"]) == ("done", 64)
