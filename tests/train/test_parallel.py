"""Runs on several processes of this machine are the run on one; so are their states, whoever reads them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
from torch import distributed

import mainspring
from fakes_workspace import add_models, lesson
from mainspring.app import Workspace
from mainspring.config import build
from mainspring.errors import ConfigError
from mainspring.flywheel import curate
from mainspring.models.families import bert, llama, t5
from mainspring.train.batch import pack
from mainspring.train.config import TrainConfig
from mainspring.train.loop import train
from mainspring.train.objectives.sft import Sft
from mainspring.train.outputs import run_model
from mainspring.train.parallel import open_runner
from mainspring.train.parallel.tensor import _reasons
from mainspring.train.plan import Plan
from parallel_cases import (
    ADAMW,
    CASES,
    KINDS,
    ON_FOUR,
    PLANS,
    SGD,
    Case,
    Items,
    compare,
    differences,
    documents,
    follow,
    run,
    start,
)

CLOSE = 1e-9
CLOSE_IN_FP32 = 1e-4
IN_FP32 = ("sft", "grpo")  # the one with idle weights, and the one that rounding moves furthest
FEW = 5  # the whole table, of 20 steps, is printed by parallel_cases.py
IDLE = [kind for kind, case in CASES.items() if case.idle]
LAYOUTS = [plan for plan in PLANS if plan != "8 accumulated"]


class StopError(Exception):
    pass


@pytest.fixture(scope="module")
def on_two(tmp_path_factory):
    """What two processes did, in one start: the folder, and by dtype how far every run lies from one process's."""
    folder = tmp_path_factory.mktemp("two")
    kinds = {"fp64": (*KINDS, "clm, muon"), "fp32": IN_FP32}
    cells = {dtype: [(kind, plan) for kind in each for plan in LAYOUTS] for dtype, each in kinds.items()}
    start(2, do_all, folder, cells)
    return folder, {dtype: compare(folder / dtype, 2, each, dtype, FEW) for dtype, each in cells.items()}


def do_all(folder, cells):
    for dtype, each in cells.items():
        follow(folder / dtype, each, dtype, FEW)
    stop_and_resume(folder)
    disagree(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "num_kinds", "close"), [("fp64", 6, CLOSE), ("fp32", 2, CLOSE_IN_FP32)])
def test_two_processes_follow_one_whatever_is_learnt_and_however_it_is_cut(on_two, dtype, num_kinds, close):
    found = on_two[1][dtype]
    assert len(found) == num_kinds * len(LAYOUTS)
    assert {cell: value for cell, value in found.items() if not value.told < close} == {}


@pytest.mark.slow
def test_four_processes_and_grids_follow_one():
    found = differences(4, ["clm"], LAYOUTS, "fp64", FEW)
    assert len(found) == len(ON_FOUR)
    assert max(value.told for value in found.values()) < CLOSE


def test_a_wrong_mean_would_be_seen(monkeypatch):
    right = differences(1, ["sft"], ["8 accumulated"], "fp64", 2)["sft", "8 accumulated"].told
    monkeypatch.setitem(CASES, "sft", replace(CASES["sft"], objective=MeanOfMeans()))
    wrong = differences(1, ["sft"], ["8 accumulated"], "fp64", 2)["sft", "8 accumulated"].told
    assert right < CLOSE < 1e-3 < wrong


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_accumulated_batches_follow_one_in_single_precision(kind, tmp_path):
    once = run(KINDS[kind], {}, "fp32", 20, tmp_path / "once")
    parts = run(KINDS[kind], PLANS["8 accumulated"], "fp32", 20, tmp_path / "parts")
    assert parts.difference(once, KINDS[kind].idle).told < CLOSE_IN_FP32


@pytest.mark.parametrize("kind", ["sft", "contrastive"])  # a decoder and an encoder
def test_idle_weights_have_no_gradient_and_no_effect(kind):
    case = CASES[kind]
    model, (batch,) = case.model().double(), pack(case.items(), 10_000)
    loss = case.objective(run_model(model, batch), batch).sum
    loss.backward()
    sizes = {
        name: float(each.grad.norm()) for name, each in model.named_parameters() if each.grad is not None
    }
    idle = {name for name in sizes if fnmatchcase(name, case.idle)}
    whole = max(sizes.values())
    assert {name for name, size in sizes.items() if size < 1e-14 * whole} == idle
    assert {name for name, size in sizes.items() if size < 1e-6 * whole} == idle
    with torch.no_grad():
        for name in idle:
            model.get_parameter(name).add_(1.0)
        moved = case.objective(run_model(model, batch), batch).sum
        assert float((moved - loss) / loss) == pytest.approx(0, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", IDLE)
def test_idle_weights_walk_by_rounding_only_where_gradients_are_divided_by_their_size(kind, tmp_path):
    found = {}
    for name, optim in (("adamw", ADAMW), ("sgd", SGD)):
        once = run(CASES[kind], {}, "fp32", 20, tmp_path / name, optim=optim)
        parts = run(CASES[kind], PLANS["8 accumulated"], "fp32", 20, tmp_path / f"{name}, parts", optim=optim)
        found[name] = parts.difference(once, CASES[kind].idle)
        assert found[name].told < CLOSE_IN_FP32
    assert found["sgd"].idle < CLOSE_IN_FP32 < found["adamw"].idle


class MeanOfMeans(Sft):
    """Divides by its own batch's tokens, as trainers used to."""

    def __call__(self, outputs, batch):
        loss = super().__call__(outputs, batch)
        return replace(loss, sum=loss.sum / batch.counts()["tokens"], count_key="groups")


# --- states ---------------------------------------------------------------------------------------------


def stop_at(number):
    def on_step(report):
        if report.step == number:
            raise StopError

    return on_step


def small(plan, **more):
    values = {
        "steps": 6, "items_per_step": 5, "save_every_steps": 2, "optim": {"lr": 2e-3},
        "plan": {"threads": 1, "dtype": "fp64", **PLANS[plan]}, **more,
    }  # fmt: skip
    return build(TrainConfig, values)


def learn(folder, plan, *, kind="clm", **more):
    """The run, and its weights; `more` goes to the loop."""
    case = KINDS[kind]
    model = case.model()
    train(model, Items(case.items()), case.objective, small(plan), folder, **more)
    return {name: each.detach().clone() for name, each in model.named_parameters()}


def far(weights, others):
    return max(float((weights[name] - each).norm() / each.norm()) for name, each in others.items())


def stop_and_resume(folder):
    """In two processes: each layout whole, and stopped behind step 5 and gone on with from step 4."""
    for plan in LAYOUTS:
        whole = learn(folder / f"{plan}-whole", plan)
        with pytest.raises(StopError):
            learn(folder / plan, plan, on_step=stop_at(5))
        assert sorted(path.name for path in (folder / plan).glob("step-*")) == ["step-000002", "step-000004"]
        numbers = len(list((folder / plan / "step-000004").glob("tensors-*")))
        assert numbers == (1 if plan == "ddp" else 2)
        again = learn(folder / plan, plan)
        assert all(torch.equal(again[name], each) for name, each in whole.items()), plan
        if distributed.get_rank() == 0:
            torch.save(whole, folder / f"{plan}.pt")
        others = [each for each in LAYOUTS if each != plan]
        with pytest.raises(ConfigError, match=r"plan\.(parallel|tensor|pipeline)"):
            learn(folder / f"{plan}-whole", others[0])


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bits_and_any_layout_reads_its_state(on_two):
    for plan in LAYOUTS:  # in two processes they did; this one goes on from their states behind step 4
        folder = on_two[0] / plan
        with pytest.raises(ConfigError, match=r"machine\.ranks: 2 then, 1 now"):
            learn(folder, "ddp")
        last = max(folder.glob("step-*"))
        last.rename(folder / "later")
        reports = []
        again = learn(folder, "ddp", accept=True, on_step=reports.append)
        assert [report.step for report in reports] == [5, 6]
        assert far(again, torch.load(on_two[0] / f"{plan}.pt")) < CLOSE


# --- what is refused ------------------------------------------------------------------------------------


def disagree(folder):
    rank = distributed.get_rank()
    case = KINDS["clm"]
    for what, pattern in (("config", r"config.optim.lr: rank 0 has 0.1, rank 1 has 0.2"), ("model", "model: "),
                          ("data", "data: rank 0 has 0, rank 1 has 1")):  # fmt: skip
        settings = small("ddp", optim={"lr": 0.1 * (1 + rank)}) if what == "config" else small("ddp")
        model = case.model(seed=rank if what == "model" else 0)
        source = Items(case.items())
        source.fingerprint = str(rank) if what == "data" else "same"
        with pytest.raises(ConfigError, match=pattern):
            train(model, source, case.objective, settings, folder / what)


@pytest.mark.slow
def test_ranks_that_disagree_are_told_all_differences_before_the_first_step(on_two):
    assert not (on_two[0] / "config").exists()
    assert not list((on_two[0] / "data").glob("step-*"))


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"tensor": 2, "pipeline": 2}, "cut the model in several ways"),
        ({"parallel": "fsdp", "tensor": 2}, "cut the model in several ways"),
        ({"tensor": 2, "dtype": "fp16"}, "fp16"),
        ({"tensor": 3}, "asks for 3 processes a model, but there are 1"),
    ],
)
def test_plans_that_do_not_go_together_are_refused(plan, reason):
    with pytest.raises(ConfigError, match=reason):
        open_runner(Case(family=llama.tiny, objective=Sft(), items=list).model(), build(Plan, plan))


def test_models_that_cannot_be_cut_say_why():
    block = Case(family=llama.tiny, objective=Sft(), items=documents).model().blocks[0]
    assert list(_reasons(block, 2)) == []
    assert list(_reasons(block, 4)) == ["its 2 key-value heads do not divide by 4"]
    wide = Case(family=bert.tiny, objective=Sft(), items=documents).model().blocks[0]
    assert any("does not divide" in reason for reason in _reasons(wide, 5))
    crossed = Case(family=t5.tiny, objective=Sft(), items=documents).model().blocks[0]
    assert list(_reasons(crossed, 2)) == ["a block mixes by Attention, not by plain attention"]


# --- the command ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_trains_on_the_processes_that_torchrun_starts(tmp_path):
    with Workspace(tmp_path / "workspace") as workspace:
        add_models(workspace)
        curate.save(workspace, [lesson(number) for number in range(6)], [])
    settings = ("epochs=2", "items_per_step=4", "plan.threads=1", "plan.parallel=fsdp")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "mainspring", "train",
        "feedback", "--json", "--workspace", str(tmp_path / "workspace"),
        *(part for each in settings for part in ("-o", f"train.{each}")),
    ]  # fmt: skip
    source = str(Path(mainspring.__file__).parent.parent)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["adapter"], said["steps"]) == ("adapter/feedback@1", 4)
    assert done.stderr.count("step 4/4") == 1
    assert "on 2 processes (fully sharded data parallel)" in done.stderr
    with Workspace(tmp_path / "workspace") as workspace:
        (run,) = workspace.runs.list("train")
        assert run.status == "done"
        lines = (workspace.runs.folder(run.id) / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4
