"""The recipe of the guide runs as it stands there."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_recipe_of_the_guide_makes_a_dataset(bench, monkeypatch):
    text = (ROOT / "docs" / "guide" / "data.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(name: .*?)```", text, re.DOTALL)
    assert block
    monkeypatch.chdir(ROOT)
    built = bench.build(yaml.safe_load(block[1]))
    assert built.dataset.reference == "dataset/handbook@1"
    assert built.report.sources["guide"].documents >= 13
    assert built.report.documents > 20
    assert set(built.report.steps) >= {"read", "unicode", "gopher_repetition", "pii", "near", "spans"}
