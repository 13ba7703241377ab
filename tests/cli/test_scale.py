import json

import pytest

from fakes_corpus import QUICK, add_corpus
from mainspring.app import Workspace
from mainspring.train import budget, ladder
from mainspring.train.pace import Speeds
from mainspring.train.scaling import Law

LAW = Law(e=1.5, a=30.0, b=60.0, alpha=0.3, beta=0.35)
OPTIONS = [part for setting in QUICK for part in ("-o", setting)]


@pytest.fixture
def corpus(root, monkeypatch):
    """Shards in the workspace, and a machine on which every rung follows a law."""
    with Workspace(root) as workspace:
        add_corpus(workspace.registry)

    def climb(registry, recipe, rung, folder):
        folder.mkdir()
        return ladder.Climbed(name=rung.name, loss=LAW.loss(rung.parameters, rung.worth), seconds=1)

    monkeypatch.setattr(ladder, "measure_speeds", lambda *_: Speeds(points=[(1e6, 1e-3)]))
    monkeypatch.setattr(ladder, "_train", climb)


@pytest.mark.slow
def test_a_ladder_leaves_a_law_and_forecasts(run, root, corpus):
    code, out, _ = run("scale", "--budget", "10m", *OPTIONS, "--workspace", root)
    assert code == 0
    assert "L(N, D) = 1.5 + 30 / N^0.3 + 60 / D^0.35" in out
    assert "10 x the largest run" in out
    assert (
        f"next  mainspring train pretrain --budget 30m -o data.dataset=dataset/ids@1 --workspace {root}"
        in out
    )
    said = json.loads(run("scale", "--budget", "10m", *OPTIONS, "--workspace", root, "--json")[1])
    assert said["scaling-law"] == "scaling-law/ids@2"
    assert said["law"]["alpha"] == pytest.approx(0.3, rel=1e-3)
    assert [each["times"] for each in said["forecasts"]] == [1, 10, 100]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "Give --budget TIME"),
        (["--budget", "1h", "--resume", "x"], "--resume RUN alone"),
        (["--resume", "x", "-o", "name=y"], "--resume RUN alone"),
        (["--budget", "soon"], "90s, 30m or 2h"),
        (["--resume", "scale-none"], "There is no run 'scale-none'"),
    ],
)
def test_wrong_usage_is_told(run, root, arguments, wanted):
    code, _, error = run("scale", *arguments, "--workspace", root)
    assert (code, wanted in error) == (2, True)


@pytest.mark.slow
def test_a_budget_is_planned_with_what_was_derived(run, root, corpus, monkeypatch):
    monkeypatch.setattr(budget, "measure_speeds", lambda *_: Speeds(points=[(1e6, 1e-3)]))
    arguments = ["train", "pretrain", "--plan", "--budget", "30s", *OPTIONS, "--workspace", root]
    code, out, _ = run(*arguments)
    assert code == 0
    for said in ("20 tokens a parameter", "learning rate", "steps", "time in all (min)"):
        assert said in out
    code, out, error = run(*arguments, "--json")
    assert json.loads(out)["recipe"]["train"]["steps"] > 0
    assert "20 tokens a parameter" in error
