"""mainspring tune: a search over a new model's shape and its learning rate, with real runs."""

import json

import pytest
import yaml

from fakes_bpe import make_tokenizer
from mainspring import artifact as artifacts
from mainspring.app import Workspace
from mainspring.data.document import Document
from mainspring.data.shard import write_shards

pytestmark = pytest.mark.slow

SPACE = """
preset: pretrain
recipe:
  tokenizer: smollm2
  model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2}
  data: {kind: documents, dataset: dataset/springs-tokens}
  validation_fraction: 0.2
  train:
    epochs: 2
    items_per_step: 4
    validate_every_steps: 2
    plan: {dtype: fp32, threads: 1}
space:
  train.optim.lr: {kind: float, low: 0.0001, high: 0.1, log: true}
  model.hidden_size: {kind: int, low: 16, high: 48, step: 16}
  model.num_hidden_layers: {kind: choice, values: [1, 2]}
sampler: {kind: tpe, startup_trials: 2}
trials: 4
"""


@pytest.fixture
def space(root, tmp_path):
    """A file of a space, and token shards in the workspace."""
    texts = [Document(id=f"t{number}", text=f"the owner winds {number} springs") for number in range(10)]
    with Workspace(root) as workspace:
        fill = lambda folder: write_shards(texts, make_tokenizer(), folder / "shards")  # noqa: E731
        registry = workspace.registry
        registry.add(artifacts.write(registry.root, "dataset", "springs-tokens", fill))
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def test_a_search_finds_a_recipe_that_train_takes(run, root, space):
    code, out, error = run("tune", "-c", space, "--workspace", root, "--json")
    assert code == 0, error
    said = json.loads(out)
    trials = said["found"]["trials"]
    assert [each["state"] for each in trials] == ["complete"] * 4
    losses = [each["metrics"]["valid_loss"] for each in trials]
    assert losses == sorted(losses)
    sizes = {each["values"]["model.hidden_size"]: each["metrics"]["parameters"] for each in trials}
    assert len(sizes) > 1
    assert sorted(sizes, key=sizes.__getitem__) == sorted(sizes)
    assert all(each["metrics"]["latency_ms"] > 0 for each in trials)
    folder = root / "runs" / said["run"]
    assert not list(folder.glob("trials/*/step-*"))
    assert (folder / "search.png").exists()
    assert (folder / "trials" / "0003" / "metrics.jsonl").exists()
    best = yaml.safe_load((folder / "best.yaml").read_text())
    assert best["train"]["optim"]["lr"] == trials[0]["values"]["train.optim.lr"]
    code, out, error = run("train", "pretrain", "-c", said["best"], "--workspace", root, "--json")
    assert code == 0, error
    with Workspace(root) as workspace:
        looked = workspace.runs.folder(json.loads(out)["run"]) / "metrics.jsonl"
        valid = [json.loads(line)["metrics"].get("valid_loss") for line in looked.read_text().splitlines()]
    assert min(value for value in valid if value is not None) == pytest.approx(losses[0], rel=1e-6)

    code, out, error = run("tune", "--resume", said["run"], "-o", "trials=5", "--workspace", root)
    assert code == 0, error
    assert "trial  state     valid_loss" in out
    assert f"next  mainspring train pretrain -c {said['best']}" in out
    code, _, error = run("tune", "--resume", said["run"], "-o", "seed=5", "--workspace", root)
    assert (code, "cannot go on with other seed" in error) == (2, True)


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ('space={"train.optim.lrr": {kind: float, low: 1, high: 2}}', "did you mean `train.optim.lr`?"),
        ('space={"model.hiden_size": {kind: int, low: 1, high: 2}}', "changes nothing in the model"),
        (
            'space={"data.dataset.x": {kind: int, low: 1, high: 2}}',
            "`data.dataset` is 'dataset/springs-tokens'",
        ),
        ("recipe.validation_fraction=0", "holds nothing out"),
        ("preset=pretrian", "There is no preset 'pretrian'"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_tried(run, root, space, option, wanted):
    code, _, error = run("tune", "-c", space, "-o", option, "--workspace", root)
    assert (code, wanted in error) == (2, True), error
    with Workspace(root) as workspace:
        assert workspace.runs.list() == []
    assert run("tune", "--workspace", root)[0] == 2
