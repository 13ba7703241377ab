import importlib
import importlib.util
from pathlib import Path

import pytest
import typer

from mainspring.life import STAGES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "mainspring"
FACES = {"cli", "demo"}  # they lead into rooms and are none


def test_the_stages_are_exactly_the_room_folders():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert {stage.room for stage in STAGES} == folders - FACES


def test_no_stage_is_listed_twice():
    assert len({stage.room for stage in STAGES}) == len(STAGES)


def test_every_stage_has_a_page_in_the_guide_and_no_page_is_left_over():
    pages = {path.stem for path in (ROOT / "docs" / "guide").glob("*.md")} - {"index"}
    assert pages == {stage.room for stage in STAGES}


def test_the_guides_index_links_every_page_in_the_order_of_life():
    text = (ROOT / "docs" / "guide" / "index.md").read_text(encoding="utf-8")
    places = [text.find(f"({stage.room}.md)") for stage in STAGES]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.skipif(
    importlib.util.find_spec("mainspring.cli") is None, reason="the command line is not there yet"
)
def test_every_command_of_a_stage_is_a_command_of_the_command_line():
    group = typer.main.get_command(importlib.import_module("mainspring.cli").app)
    named = {command for stage in STAGES for command in stage.commands}
    assert named <= set(getattr(group, "commands", {}))
