"""The benchmark's own arithmetic, and the first steps of its stored curves, trained again."""

import importlib
import json
import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from mainspring.app import Workspace
from mainspring.config import build
from mainspring.tokenizer.base import Tokenizer
from mainspring.train.recipe import Recipe

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
TEXT = (
    Path(os.environ.get("MAINSPRING_DATA", ROOT / ".." / "shared" / "data"))
    / "tiny-shakespeare"
    / "input.txt"
)
TINY = [
    "model.num_hidden_layers=1", "model.hidden_size=16", "model.intermediate_size=16", "model.num_attention_heads=1",
    "model.num_key_value_heads=1", "model.head_dim=16", "train.save_every_steps=2", "train.steps=5",
]  # fmt: skip


class StopError(Exception):
    pass


@pytest.fixture
def bench(monkeypatch):
    """The benchmark as it is found when it is called."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("shakespeare")


@pytest.fixture
def text():
    draw = random.Random(0)
    return "".join(draw.choice("ab c\n.Zé") for _ in range(3000))


def test_every_character_is_an_id_and_the_last_tenth_is_not_learnt_from(bench, tmp_path, text):
    with Workspace(tmp_path / "workspace") as workspace:
        for _ in range(2):
            bench.publish(workspace, text, "letters")
        registry = workspace.registry
        tokenizer = Tokenizer.load(registry.folder(registry.get("tokenizer/letters")))
        shards = importlib.import_module("mainspring.data.shard_dataset").open_shards
        found = {
            split: shards(registry, registry.get("dataset/letters@1"), split).segment(0).ids[:-1]
            for split in ("train", "validation")
        }
        assert not registry.has("dataset/letters@2")
    known = {character: number for number, character in enumerate(sorted(set(text)))}
    assert tokenizer.vocab_size == len(known) + 1
    ids = [known[character] for character in text]
    assert {split: each.tolist() for split, each in found.items()} == {
        "train": ids[:2700], "validation": ids[2700:],
    }  # fmt: skip
    assert tokenizer.decode(ids) == text


def test_the_loss_is_of_every_character_behind_a_windows_first(bench):
    ids = np.random.default_rng(0).integers(4, size=700)
    table = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.25] * 4, [0.4, 0.3, 0.2, 0.1]])
    starts = np.array([0, 5, 640, *range(100, 200)])
    pairs = [(ids[start + at], ids[start + at + 1]) for start in starts for at in range(8)]
    expected = -sum(math.log(float(table[before, behind])) for before, behind in pairs) / len(pairs)
    found = bench.loss_of(lambda ids_BT: table.log()[ids_BT], ids, starts, 8)
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_a_run_that_was_stopped_is_gone_on_with_and_one_that_is_done_is_kept(
    bench, tmp_path, text, monkeypatch
):
    def stop(report):
        if report.step == 3:
            raise StopError

    with Workspace(tmp_path / "workspace") as workspace:
        bench.publish(workspace, text, "shakespeare")
        recipe = bench.recipe_of("cpu", bench.SIZES["cpu"], TINY, is_quick=False)
        with pytest.raises(StopError):
            bench.run_recipe(workspace.registry, workspace.runs, recipe, on_step=stop)
        stopped = bench.run_of(workspace, recipe)
        done = bench.train_ours(workspace, recipe)
        assert done.id == stopped.id
        assert [step for step, _ in bench.curve(workspace, done)] == [1, 2, 3, 4, 5]
        monkeypatch.setattr(bench, "run_recipe", lambda *_: pytest.fail("it is done"))
        assert bench.train_ours(workspace, recipe).id == done.id


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not TEXT.exists(), reason="the public data sets are not beside the checkout")
@pytest.mark.parametrize(("which", "num_steps", "tolerance"), [("cpu", 50, 0.05), ("large", 2, 0.02)])
def test_the_stored_curve_begins_as_the_recipe_still_does(bench, tmp_path, which, num_steps, tolerance):
    """Rounding differs between processors and grows with the steps: hence the tolerance, in nats."""
    file = RESULTS / f"shakespeare-{which}.json"
    if not file.exists():
        pytest.skip(f"{file.name} is not there yet; benchmarks/shakespeare.py {which} --store writes it")
    stored = json.loads(file.read_text(encoding="utf-8"))
    found = []

    def note(report):
        found.append(report.loss)
        if report.step == num_steps:
            raise StopError

    with Workspace(tmp_path / "workspace") as workspace:
        bench.publish(workspace, TEXT.read_text(encoding="utf-8"), "shakespeare")
        recipe = bench.recipe_of(which, bench.SIZES[which], [], is_quick=False)
        with pytest.raises(StopError):
            bench.run_recipe(workspace.registry, workspace.runs, recipe, on_step=note)
        assert recipe.pinned(workspace.registry) == build(
            Recipe, stored["recipe"]
        )  # settings may have come since
    expected = [loss for _, loss in stored["curve"][:num_steps]]
    assert found == pytest.approx(expected, abs=tolerance)
