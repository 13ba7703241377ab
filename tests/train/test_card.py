"""A card says what happened, and nothing else."""

import re

import pytest

from fakes_workspace import lesson, recipe, tune
from mainspring.adapt.kinds import Full
from mainspring.flywheel import curate
from mainspring.train.card import Facts, write_card
from mainspring.train.metrics import Metrics, StepReport

pytestmark = pytest.mark.slow


@pytest.fixture
def dataset(workspace):
    return curate.save(workspace, [lesson(number) for number in range(6)], [])


def rows(card):
    return dict(re.findall(r"^\| (.+?) \| (.*) \|$", card, re.MULTILINE))


def limits(card):
    return card.partition("## Limits that follow\n\n")[2].splitlines()


def test_the_card_of_an_adapter_has_its_facts_and_goes_with_it(workspace, dataset):
    reports = []
    adapter, run = tune(workspace, recipe(epochs=5), on_step=reports.append)
    base = workspace.registry.get("model/smollm2@1")
    folder = workspace.runs.folder(run.id)
    found = rows(adapter.card)
    assert adapter.card == (folder / "card.md").read_text()
    assert (folder / "metrics.png").exists()
    assert found["base"] == f"{base.reference} `{base.fingerprint[:16]}`"
    assert found["dataset"] == f"{dataset.reference} `{dataset.fingerprint[:16]}`"
    assert found["base weights"] == f"`{adapter.config['base_fingerprint'][:16]}`"
    assert found["steps"].startswith("15, of which 0")
    tokens, learnt = sum(each.tokens for each in reports), adapter.config["trained_tokens"]
    assert found["tokens"] == f"{tokens:,}, of which {learnt:,.0f} were learnt"
    assert found["loss of the last step"] == f"{reports[-1].loss:.4f}"
    assert (found["licence"], found["run"]) == ("unknown", run.id)
    assert "kind: adamw, lr: 0.01" in found["optimizer"]
    assert "kind: lora, rank: 8" in found["transform"]
    told = "\n".join(limits(adapter.card))
    for wanted in ("held out", "licence", "base weights named above alone", "passed over 5 times"):
        assert wanted in told
    assert "tokens per parameter" not in told  # the base is no new model


def test_limits_follow_from_the_facts(workspace, dataset, tmp_path):
    metrics = Metrics(tmp_path, 0)
    for step, valid in enumerate((2.0, 1.0, 1.5), start=1):
        metrics.write(
            StepReport(
                step=step, loss=valid, lr=0.1, grad_norm=1.0, tokens=20, trained_tokens=10.0, seconds=1.0,
                metrics={"valid_loss": valid} | ({"skipped": 1.0} if step == 2 else {}),
            )
        )  # fmt: skip
    said = recipe(plan={"dtype": "bf16", "threads": 1})
    new = said.model_copy(update={"model": {"model_type": "llama"}, "transform": Full(), "max_tokens": 99})
    facts = Facts(
        kind="model", recipe=new, run="train-1", parents={"dataset": dataset.reference}, license="MIT",
        base_fingerprint="ab", parameters=1000, trained_parameters=1000, context=128,
    )  # fmt: skip
    assert limits(write_card(workspace.registry, facts, tmp_path))[1:] == [
        "- Texts of more than 99 tokens were never learnt; the model takes 128.",
        "- Matrix products were computed in bf16.",
        "- The loss held out was lowest after step 2; these weights are the later ones of step 3.",
        "- It learnt 0.03 tokens per parameter; about 20 are what a model of its size makes most of.",
        "- Steps skipped because their loss or gradient was unfit: 1.",
    ]
