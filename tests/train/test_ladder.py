"""A ladder: which rungs a time has, that it goes on where it was stopped, and the law that it leaves."""

import math
from types import SimpleNamespace

import msgspec
import pytest

from fakes_corpus import add_corpus, quick
from mainspring import registry as registries
from mainspring import runs as run_tables
from mainspring.database import Database
from mainspring.errors import ConfigError, UserError
from mainspring.registry import Registry
from mainspring.runs import Runs
from mainspring.train import ladder
from mainspring.train.ladder import plan_ladder, run_ladder
from mainspring.train.law_store import find_law, read_law
from mainspring.train.loop import train
from mainspring.train.pace import Speeds
from mainspring.train.scaling import Fit, Law

LAW = Law(e=1.5, a=30.0, b=60.0, alpha=0.3, beta=0.35)
FLOPS = 1e9


@pytest.fixture
def place(tmp_path):
    """A registry with a corpus, and runs beside it."""
    database = Database(
        tmp_path / "w.db", [registries.MIGRATION, run_tables.MIGRATION, run_tables.PROCESS_MIGRATION]
    )
    registry = Registry(database, tmp_path / "artifacts")
    add_corpus(registry)
    return registry, Runs(database, tmp_path / "runs")


@pytest.fixture
def machine(monkeypatch):
    """A machine whose speed is known; its probes take no time."""
    monkeypatch.setattr(ladder, "time", SimpleNamespace(monotonic=lambda: 0.0))
    monkeypatch.setattr(ladder, "measure_speeds", lambda *_: Speeds(points=[(1e6, 1e6 / FLOPS)]))


def test_rungs_differ_in_size_and_length_and_fill_the_time(place, machine):
    recipe, rungs = plan_ladder(place[0], quick(), 500)
    sizes = {rung.parameters for rung in rungs}
    assert len(sizes) >= 3
    assert len(rungs) == 3 * len(sizes)
    for size in sizes:
        steps = sorted(rung.worth for rung in rungs if rung.parameters == size)
        assert steps[1] / steps[0] == pytest.approx(3, rel=0.15)
        assert steps[2] / steps[1] == pytest.approx(3, rel=0.15)
    assert recipe.validation.split == "validation"
    assert recipe.data.dataset == "dataset/ids@1"


def test_without_held_out_text_there_is_no_ladder(registry, machine):
    add_corpus(registry, held=0)
    with pytest.raises(ConfigError, match="no split 'validation'"):
        plan_ladder(registry, quick(), 100)


@pytest.mark.slow
def test_a_stopped_ladder_goes_on_and_leaves_the_law_of_its_rungs(place, machine, monkeypatch):
    registry, runs = place
    climbed = []

    def climb(registry, recipe, rung, folder):
        if len(climbed) == 4 and not runs.list()[0].ended:
            climbed.append("stopped")
            raise KeyboardInterrupt
        folder.mkdir(exist_ok=True)
        climbed.append(rung.name)
        return ladder.Climbed(name=rung.name, loss=LAW.loss(rung.parameters, rung.worth), seconds=1)

    monkeypatch.setattr(ladder, "_train", climb)
    with pytest.raises(KeyboardInterrupt):
        run_ladder(registry, runs, quick(), 500)
    stopped = runs.list()[0]
    law, run = run_ladder(registry, runs, None, 0, resume=stopped.id)
    assert (run.id, run.result) == (stopped.id, {"scaling-law": "scaling-law/ids@1"})
    names = [name for name in climbed if name != "stopped"]
    assert len(names) == len(set(names)) >= 9
    stored = read_law(registry, law)
    assert stored.fit.law.alpha == pytest.approx(LAW.alpha, rel=1e-4)
    assert stored.fit.law.beta == pytest.approx(LAW.beta, rel=1e-4)
    assert len(stored.runs) == len(names)
    assert (registry.folder(law) / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert find_law(registry, quick())[0].reference == law.reference
    with pytest.raises(UserError, match="is done"):
        run_ladder(registry, runs, None, 0, resume=run.id)


@pytest.mark.slow
def test_a_ladder_stopped_within_a_rung_comes_to_the_same_losses(place, machine, monkeypatch):
    registry, runs = place
    speeds = Speeds(points=[(1e6, 1e-2)])
    monkeypatch.setattr(ladder, "measure_speeds", lambda *_: speeds)
    draws = [[math.log(30), math.log(60), 0.4, 0.3, 0.35]]
    monkeypatch.setattr(ladder, "fit", lambda _: Fit(law=LAW, draws=draws, residuals=[0.0]))
    whole, _ = run_ladder(registry, runs, quick(), 30)
    left = [1]

    def stop(report):
        left[0] -= report.step == 12
        if not left[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(ladder, "train", lambda *args, **more: train(*args, **more, on_step=stop))
    with pytest.raises(KeyboardInterrupt):
        run_ladder(registry, runs, quick(), 30)
    monkeypatch.setattr(ladder, "train", train)
    stopped = runs.list()[0]
    assert list(runs.folder(stopped.id).glob("width-*/step-*"))  # within a rung
    assert stopped.config == runs.list()[1].config
    resumed, _ = run_ladder(registry, runs, None, 0, resume=stopped.id)
    assert read_law(registry, whole).runs == read_law(registry, resumed).runs
    assert not list(runs.folder(stopped.id).glob("width-*"))


def test_a_run_of_another_kind_is_not_resumed(place):
    registry, runs = place
    other = runs.start("train", {})
    with pytest.raises(UserError, match="not a run of `scale`"):
        run_ladder(registry, runs, None, 0, resume=other.id)
    assert msgspec.to_builtins(runs.get(other.id))["status"] == "running"
