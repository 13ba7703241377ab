import json

import pytest

from fakes_datasets import add_dataset, plain
from fakes_verbs import caller
from fakes_workspace import add_models
from mainspring.app import Workspace
from mainspring.cli.data_select import select
from mainspring.errors import ConfigError, UserError


@pytest.fixture
def call(tmp_path):
    with Workspace(tmp_path / "w") as workspace:
        add_models(workspace)
        add_dataset(workspace.registry, plain(30), "pool")
    return caller(tmp_path / "w", select=select)


@pytest.fixture
def scores(tmp_path):
    file = tmp_path / "scores.jsonl"
    lines = [{"id": f"t#{n}", "probabilities": [n / 60, 1 - n / 60], "labelled": n == 29} for n in range(30)]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def test_the_least_sure_become_a_dataset(call, scores):
    code, out = call("select", "pool", "--scores", scores, "-n", 3, "--by", "uncertainty")
    assert code == 0
    assert "documents  3 of 30" in out
    assert "first      t#28, t#27, t#26" in out
    assert "next  mainspring data doctor pool-selected" in out


def test_ids_alone_make_no_dataset(call, scores):
    _, out = call("select", "pool", "--scores", scores, "-n", 2, "--by", "uncertainty", "--ids")
    assert out == "t#28\nt#27\n"
    _, out = call("select", "pool", "--scores", scores, "-n", 2, "--by", "uncertainty", "--ids", "--json")
    assert json.loads(out) == {"ids": ["t#28", "t#27"]}


def test_a_model_and_the_embedder_give_what_no_file_does(call, scores):
    _, out = call("select", "pool", "--model", "smollm2", "--embed", "-n", 4, "--json")
    said = json.loads(out)
    assert said["dataset"] == "dataset/pool-selected@1"
    assert len(set(said["ids"])) == 4
    _, out = call("select", "pool", "--embed", "--by", "diversity", "-n", 4, "--json")
    assert len(json.loads(out)["ids"]) == 4
    _, out = call("select", "pool", "--scores", scores, "--embed", "-o", "spread=clusters", "-n", 4, "--json")
    assert "t#29" not in json.loads(out)["ids"]


def test_what_is_missing_is_told(call, scores):
    with pytest.raises(UserError, match="--scores FILE, --model NAME"):
        call("select", "pool")
    with pytest.raises(ConfigError, match="--embed"):
        call("select", "pool", "--scores", scores)
    with pytest.raises(ConfigError, match="by"):
        call("select", "pool", "--scores", scores, "--by", "luck")
