"""The whole life in one process: documents to a served assistant whose users make its next version."""

import json
import urllib.request

import pytest

from fakes_server import in_background
from fakes_workspace import (
    PLACES,
    add_assistant,
    add_index,
    add_models,
    gold_items,
    recipe,
    write_documents,
)
from mainspring.app import IN_PRODUCTION, PRODUCTION, Workspace
from mainspring.directory import Door
from mainspring.flywheel.loop import FlywheelConfig, turn
from mainspring.flywheel.promote import promote
from mainspring.gateway.keys import Keys
from mainspring.gateway.pipeline import Pipeline
from mainspring.serve.door import create


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read() or b"null")


def ask(url, question):
    """The extension of an answer to a question."""
    body = {"model": "mainspring", "messages": [{"role": "user", "content": question}]}
    return post(f"{url}/v1/chat/completions", body)["mainspring"]


@pytest.mark.slow
def test_a_model_lives_from_documents_to_its_next_version(tmp_path):
    with Workspace(tmp_path / "workspace") as workspace:
        add_models(workspace)
        base = add_assistant(workspace, add_index(workspace, write_documents(tmp_path / "documents")))
        promote(workspace, base.reference)
        door = Door(workspace)
        pipeline = Pipeline(door, workspace.tracer, Keys())
        with in_background(create(pipeline, door, workspace.feedback, drawer=workspace.drawer)) as url:
            for number in range(6):
                said = ask(url, f"How many {PLACES[number % len(PLACES)]}s of row {number}?")
                assert said["assistant"] == base.reference
                post(f"{url}/feedback", {"request": said["request"], "rating": "down", "correction": "7"})
            made = turn(workspace, FlywheelConfig(tune=recipe(epochs=2), num_examples=1), gold_items())
            assert made.lessons == 6
            if made.promoted is None:
                assert ask(url, "How many?")["assistant"] == base.reference
                candidate = workspace.registry.get(made.candidate)
                workspace.registry.label(candidate, PRODUCTION, "by hand")
            said = ask(url, "How many?")
            assert said["assistant"] == made.candidate == workspace.registry.get(IN_PRODUCTION).reference
            workspace.log.flush()
            adapters = {
                event.data["attributes"]["mainspring.adapter"]
                for event in workspace.log.find(type="span", subject=said["request"])
                if "mainspring.adapter" in event.data["attributes"]
            }
            assert adapters == {made.adapter}
