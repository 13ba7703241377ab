"""Prompts that clients name."""

import json

import pytest
from starlette.testclient import TestClient

from mainspring.app import Workspace
from mainspring.directory import Door
from mainspring.gateway.keys import Keys
from mainspring.gateway.pipeline import Pipeline
from mainspring.serve.door import create

TEXT = "messages:\n- role: system\n  content: Speak {{language}}.\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "greet.yaml"
    path.write_text(TEXT)
    return path


def test_a_prompt_that_is_saved_is_there_for_clients_at_once(run, root, file):
    with Workspace(root) as opened:
        pipeline = Pipeline(Door(opened), opened.tracer, Keys(None))
        app = create(pipeline, Door(opened), opened.feedback, drawer=opened.drawer)
        door = TestClient(app, base_url="http://127.0.0.1")

        def count(**prompt):
            body = {"model": "smollm2", "input": "x", "prompt": {"id": "greet", **prompt}}
            return door.post("/v1/responses/input_tokens", json=body)

        assert count().status_code == 404
        code, out, _ = run("prompt", "save", "greet", file, "--workspace", root)
        assert code == 0
        assert "prompt/greet@1" in out
        assert '{"id": "greet", "version": "1", "variables": {"language": "..."}}' in out
        assert count(variables={"language": "French"}).status_code == 200
        assert count().json()["error"]["param"] == "prompt.variables"
        assert count(version="production").status_code == 404
        file.write_text(json.dumps({"messages": [{"role": "system", "content": "Speak."}]}))
        said = run("prompt", "save", "greet", file, "--label", "production", "--workspace", root, "--json")[1]
        assert json.loads(said)["prompt"] == "prompt/greet@2"
        assert count(version="production").status_code == count().status_code == 200
        assert count(version="1").status_code == 400


def test_what_is_saved_again_without_a_change_keeps_its_version(run, root, file):
    for _ in range(2):
        out = run("prompt", "save", "greet", file, "--workspace", root, "--json")[1]
    said = json.loads(out)
    assert (said["prompt"], said["variables"]) == ("prompt/greet@1", ["language"])


@pytest.mark.parametrize(
    ("arguments", "text", "wanted"),
    [
        (["a/b"], TEXT, "NAME is 'a/b'"),
        (["greet", "--label", "1"], TEXT, "--label is '1'"),
        (["grounded"], TEXT, "a prompt of the assistant"),
        (["greet"], "messages: []", "messages"),
        (["greet"], "messages:\n- role: tool\n  content: x\n", "role"),
        (["greet"], "message: x\n", "did you mean `messages`"),
    ],
)
def test_what_cannot_be_saved_is_said(run, root, file, arguments, text, wanted):
    file.write_text(text)
    with Workspace(root) as opened:
        opened.save("prompt", "grounded", {"system": "x"}, {})
    code, _, error = run("prompt", "save", arguments[0], file, *arguments[1:], "--workspace", root)
    assert code == 2
    assert wanted in error
