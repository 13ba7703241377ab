"""mainspring merge: two adapters of one model, each trained on half of what is asked."""

import json

import msgspec
import pytest
import torch

from fakes_workspace import lesson
from mainspring import artifact as artifacts
from mainspring.adapt import base as adapters
from mainspring.adapt import lora, store
from mainspring.app import Workspace
from mainspring.config import build
from mainspring.models.attend import PackedAttend
from mainspring.models.load import load
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.sft import Sft
from mainspring.train.sources.chats import ChatSource

pytestmark = pytest.mark.slow

SETTINGS = {
    "epochs": 4, "items_per_step": 2, "optim": {"lr": 3e-3, "schedule": "constant"}, "plan": {"threads": 1},
}  # fmt: skip


def add_adapter(registry, lessons, folder):
    base = registry.folder(registry.get("model/smollm2@1"))
    model = load(base).requires_grad_(False)
    lora.add(model, lora.Lora(), "half")
    source = ChatSource([each.messages for each in lessons], Tokenizer.load(base), max_tokens=256)
    train(model, source, Sft(), build(TrainConfig, SETTINGS), folder)
    parents = {"base": "model/smollm2@1"}
    fill = lambda target: store.save(model, "half", target)  # noqa: E731
    registry.add(artifacts.write(registry.root, "adapter", "half", fill, parents=parents))


@pytest.fixture
def merging(root, tmp_path):
    """Adapters of the first and of the second half, lessons of both, and the file that merges them."""
    halves = [[lesson(n, answer="7") for n in range(3)], [lesson(n, answer="9") for n in range(3, 6)]]
    with Workspace(root) as workspace:
        registry = workspace.registry
        for number, half in enumerate(halves):
            add_adapter(registry, half, tmp_path / str(number))
        lines = msgspec.json.Encoder().encode_lines(halves[0] + halves[1])
        fill = lambda folder: (folder / "lessons.jsonl").write_bytes(lines)  # noqa: E731
        registry.add(artifacts.write(registry.root, "dataset", "both", fill))
    path = tmp_path / "merge.yaml"
    path.write_text(
        "name: both\nparents: [{reference: adapter/half@1}, {reference: adapter/half@2}]\n"
        "data: {kind: chats, dataset: dataset/both}\n"
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
    weights = "parents=[{reference: adapter/half@1, weight: -30}, {reference: adapter/half@2, weight: -30}]"
    code, out, error = run("merge", "-c", path, *settings, "-o", weights, "--workspace", root)
    assert code == 3
    assert "adapter/half@1  " in out
    assert "both: refused" in out
    assert "nats a token worse than adapter/half@" in error
    with Workspace(root) as workspace:
        assert not workspace.registry.has("adapter/both")


def test_an_unknown_method_is_told_with_those_there_are(run, merging):
    root, path = merging
    code, _, error = run("merge", "-c", path, "-o", "method.kind=tie", "--workspace", root)
    assert code == 2
    assert (
        "`method.kind` is 'tie'; did you mean 'ties'? Known kinds: linear, task, ties, dare, slerp." in error
    )


def test_an_adapter_is_baked_into_a_model_that_answers_as_both_did(run, merging):
    root, _ = merging
    code, out, error = run("merge", "--bake", "half@1", "--name", "whole", "--workspace", root, "--json")
    assert code == 0, error
    assert json.loads(out)["model"] == "model/whole@1"
    ids = torch.arange(12) * 7 % 250
    with Workspace(root) as workspace, torch.no_grad():
        registry = workspace.registry
        made = registry.get("model/whole@1", verify=True)
        assert made.parents == {"base": "model/smollm2@1", "adapter": "adapter/half@1"}
        found, beside = load(registry.folder(made)), load(registry.folder(registry.get("model/smollm2@1")))
        plain = scores(beside, ids)
        store.load(beside, registry.folder(registry.get("adapter/half@1")), "half")
        adapters.activate(beside, "half")
        torch.testing.assert_close(scores(found, ids), scores(beside, ids), atol=1e-4, rtol=1e-4)
        assert (scores(found, ids) - plain).abs().max() > 0.01
        Tokenizer.load(registry.folder(made))


def test_what_is_not_to_be_baked_is_said_with_what_to_do(run, merging):
    root, _ = merging
    code, _, error = run("merge", "--bake", "half@1", "--workspace", root)
    assert (code, "--bake ADAPTER and --name NAME go together" in error) == (2, True)
    code, _, error = run("merge", "--bake", "model/smollm2", "--name", "x", "--workspace", root)
    assert (code, "is no adapter with a base" in error) == (2, True)


def scores(model, ids):
    return model.logits(model(ids, torch.arange(len(ids)), PackedAttend([len(ids)])))
