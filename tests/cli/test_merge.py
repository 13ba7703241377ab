"""mainspring merge: two adapters of one model, each trained on half of what is asked."""

import json

import pytest

from fakes_workspace import lesson, tune_config
from mainspring.app import Workspace
from mainspring.flywheel import curate
from mainspring.flywheel.tune import tune

pytestmark = pytest.mark.slow


@pytest.fixture
def merging(root, tmp_path):
    """Adapters of the first and of the second half, lessons of both, and the file that merges them."""
    with Workspace(root) as workspace:
        halves = [
            [lesson(n, answer="7") for n in range(3)],
            [lesson(n, answer="9") for n in range(3, 6)],
        ]
        for half in halves:
            curate.save(workspace, half, [])
            tune(workspace, tune_config(epochs=4, lr=3e-3))
        curate.save(workspace, halves[0] + halves[1], [])
    path = tmp_path / "merge.yaml"
    path.write_text(
        "name: both\nparents: [{reference: adapter/feedback@1}, {reference: adapter/feedback@2}]\n"
        "data: {kind: chats, dataset: dataset/feedback}\n"
    )
    return root, path


def test_two_halves_merged_are_better_on_the_whole_than_either(run, merging):
    root, path = merging
    code, out, error = run("merge", "-c", path, "--workspace", root, "--json")
    assert code == 0, error
    said = json.loads(out)
    assert said["merged"] == "adapter/both@1"
    assert said["nll"]["both"] < min(value for name, value in said["nll"].items() if name != "both")
    code, out, _ = run(
        "merge", "-c", path, "-o", "method.kind=ties", "-o", "max_worse=9", "--workspace", root
    )
    assert "both: model/both@1 (on 6 segments, " in out
    assert "next  mainspring models describe model/both@1" in out


def test_a_worse_result_is_refused_with_the_table_and_exit_code_3(run, merging):
    root, path = merging
    settings = ["-o", "method={kind: linear, normalize: false}"]
    weights = (
        "parents=[{reference: adapter/feedback@1, weight: -30}, {reference: adapter/feedback@2, weight: -30}]"
    )
    code, out, error = run("merge", "-c", path, *settings, "-o", weights, "--workspace", root)
    assert code == 3
    assert "adapter/feedback@1  " in out
    assert "both: refused" in out
    assert "nats a token worse than adapter/feedback@" in error
    with Workspace(root) as workspace:
        assert not workspace.registry.has("adapter/both")


def test_an_unknown_method_is_told_with_those_there_are(run, merging):
    root, path = merging
    code, _, error = run("merge", "-c", path, "-o", "method.kind=tie", "--workspace", root)
    assert code == 2
    assert (
        "`method.kind` is 'tie'; did you mean 'ties'? Known kinds: linear, task, ties, dare, slerp." in error
    )
