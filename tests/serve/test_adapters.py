"""Adapters as models of a real engine: loaded, asked, listed and dropped over HTTP."""

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import pytest
from starlette.testclient import TestClient

from fakes_bpe import make_tokenizer
from fakes_server import in_background
from fakes_workspace import add_adapter, add_assistant, add_index, add_model, add_models, write_documents
from mainspring import artifact as artifacts
from mainspring import trace
from mainspring.adapt.base import adapters_of
from mainspring.adapt.ia3 import Ia3
from mainspring.app import Workspace
from mainspring.cli import main
from mainspring.directory import Door
from mainspring.events import data_of
from mainspring.flywheel.promote import promote
from mainspring.gateway.keys import Keys
from mainspring.gateway.pipeline import Pipeline
from mainspring.infer.native.build import NoCompilerError, library
from mainspring.infer.request import EngineConfig
from mainspring.serve.door import create

NAME = "ft:gpt-4o-mini:acemeco:suffix:abc123"
USER = [{"role": "user", "content": "Who winds the spring?"}]
GREEDY = {"temperature": 0, "max_tokens": 12, "ignore_eos": True}
BASE = "model/smollm2@1"


@contextmanager
def opened(root, *, key=None, aliases=None, **engine):
    """A workspace with a door; the door's application."""
    with Workspace(root, engine=EngineConfig(num_blocks=256, **engine)) as workspace:
        door = Door(workspace)
        pipeline = Pipeline(door, workspace.tracer, Keys(key), aliases)
        yield workspace, create(pipeline, door, workspace.feedback, drawer=workspace.drawer)


@pytest.fixture
def root(tmp_path):
    """A workspace of two models and two adapters."""
    with Workspace(tmp_path / "workspace") as workspace:
        add_models(workspace)
        for seed in (1, 2):
            add_adapter(workspace, seed)
    return tmp_path / "workspace"


@pytest.fixture(params=["torch_eager", "native"])
def backend(request):
    if request.param == "native":
        try:
            library()
        except NoCompilerError as error:
            pytest.skip(str(error))
    return request.param


@pytest.fixture
def house(root):
    with opened(root, aliases={"gpt-4o": NAME, "gpt-4": "smollm2", "*": "smollm2"}) as house:
        yield house


@pytest.fixture
def workspace(house):
    return house[0]


@pytest.fixture
def door(house):
    return TestClient(house[1], base_url="http://127.0.0.1")


def load(door, name=NAME, reference="adapter/a@1", **more):
    return door.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": reference, **more})


def unload(door, name=NAME):
    return door.post("/v1/unload_lora_adapter", json={"lora_name": name})


def say(door, model, status=200):
    answer = door.post("/v1/chat/completions", json={"model": model, "messages": USER, **GREEDY})
    assert answer.status_code == status, answer.text
    return answer.json()["choices"][0]["message"]["content"] if status == 200 else answer.json()["error"]


def held(workspace):
    """The adapters on the weights."""
    return set(adapters_of(workspace.host(BASE).engine.model).configs)


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


def test_a_loaded_adapter_is_a_model_in_every_dialect(door):
    plain = say(door, "smollm2")
    answer = load(door)
    assert (answer.status_code, answer.text) == (200, f"Success: LoRA adapter '{NAME}' added successfully.")
    assert answer.headers["content-type"].startswith("text/plain")
    tuned = say(door, NAME)
    assert plain == say(door, "smollm2") != tuned == say(door, "gpt-4o")
    raw = {"prompt": "the owner", **GREEDY}
    texts = [door.post("/v1/completions", json={"model": model, **raw}).json() for model in (NAME, "smollm2")]
    assert texts[0]["model"] == NAME
    assert texts[0]["choices"][0]["text"] != texts[1]["choices"][0]["text"]
    said = {"model": NAME, "messages": USER, "max_tokens": 12, "temperature": 0}
    message, plainly = (
        door.post("/v1/messages", json={**said, "model": model}).json() for model in (NAME, "smollm2")
    )
    assert message["model"] == NAME
    assert message["content"] != plainly["content"]
    response = door.post("/v1/responses", json={"model": NAME, "input": "Who winds it?"})
    assert (response.status_code, response.json()["model"]) == (200, NAME)
    assert door.post("/tokenize", json={"model": NAME, "prompt": "the"}).json()["count"] > 0
    assert door.post("/v1/messages/count_tokens", json={"model": NAME, "messages": USER}).status_code == 200


def test_it_is_listed_with_its_base_and_its_artifact(door):
    before = door.get("/v1/models").json()["data"]
    assert {row["parent"] for row in before} == {None}
    load(door, reference="adapter/a")
    rows = {row["id"]: row for row in door.get("/v1/models").json()["data"]}
    told = rows[NAME]
    assert (told["parent"], told["root"], told["mainspring"]) == ("smollm2", "adapter/a@2", {"task": "chat"})
    assert (rows["gpt-4o"]["parent"], rows["smollm2"]["root"]) == ("smollm2", "smollm2")
    assert door.get(f"/v1/models/{NAME}").json() == told
    assert len(rows) == len(before) + 2  # and the alias that means it


def test_the_same_again_is_harmless_and_another_under_the_name_is_refused_as_by_vllm(door, workspace):
    load(door, load_inplace=False)
    assert load(door, reference="adapter/a@1").status_code == 200
    error = error_of(load(door, reference="adapter/a@2"), 400)
    assert "has already been loaded" in error["message"]
    assert held(workspace) == {"adapter/a@1"}
    assert load(door, "other", "adapter/a@2").status_code == 200
    assert say(door, "other") != say(door, NAME)


@pytest.mark.parametrize("name", ["smollm2", "minilm", "mainspring", "gpt-4", "gpt-4o", "*", "", "x" * 257])
def test_a_name_that_means_something_else_is_refused(door, workspace, name):
    assert error_of(load(door, name), 400)["param"] == "lora_name"
    assert workspace.drawer.everyones("adapter") == []


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "adapter/../../other@1", "adapter/a@3", "adapter/a@\u00b2", "adapter/a@01", "adapter/b",
     "model/smollm2@1", "adapter/a@best", "", "adapter/a\x00@1", "adapter/" + "a" * 5000 + "@1", "adapter/a/1"],
)  # fmt: skip
def test_what_is_no_adapter_of_the_workspace_is_not_looked_for_on_the_disk(door, workspace, path):
    error = error_of(load(door, reference=path), 404)
    assert "adapter/a@1" in error["message"]
    assert str(workspace.root) not in error["message"]
    assert workspace.drawer.everyones("adapter") == []


def test_a_label_is_taken_for_the_version_that_it_has_now(door, workspace):
    for version in (1, 2):
        workspace.registry.label(workspace.registry.get(f"adapter/a@{version}"), "best", "test")
        load(door, reference="adapter/a@best")
    assert door.get(f"/v1/models/{NAME}").json()["root"] == "adapter/a@1"


def test_an_adapter_that_cannot_be_applied_is_refused_with_the_reason(door, workspace, monkeypatch):
    add_model(workspace, "other", "llama", make_tokenizer())
    ia3, strange = add_adapter(workspace, 3, kind=Ia3()), add_adapter(workspace, 4, base="other")
    assert "of kind 'ia3'" in error_of(load(door, reference=ia3), 400)["message"]
    assert load(door, reference=strange).status_code == 200  # another model that is served
    assert held(workspace) == set()
    unload(door)
    add_model(workspace, "other", "llama", make_tokenizer())
    error = error_of(load(door, reference=strange), 400)
    assert (error["param"], "model/other@1" in error["message"]) == ("lora_path", True)
    monkeypatch.setattr("mainspring.infer.seats.linears_agree", lambda weights, plan: False)
    assert "rank 8" in error_of(load(door), 400)["message"]
    (workspace.root / "artifacts/adapter/a/2/adapter_config.json").write_text("{}")
    assert "adapter/a@2" in error_of(load(door, reference="adapter/a@2"), 400)["message"]
    assert workspace.drawer.everyones("adapter") == []


def test_an_adapter_that_names_no_base_or_is_damaged_is_refused(door, workspace):
    whole = workspace.registry.folder(workspace.registry.get("adapter/a@1"))
    for parents, config, said in (({}, None, "no model that it names"), ({"base": BASE}, "{}", "peft_type")):

        def fill(folder, config=config):
            for path in whole.glob("adapter_*"):
                (folder / path.name).write_bytes(path.read_bytes())
            if config is not None:
                (folder / "adapter_config.json").write_text(config)

        made = artifacts.write(workspace.registry.root, "adapter", "odd", fill, parents=parents)
        reference = workspace.registry.add(made).reference
        assert said in error_of(load(door, reference=reference), 400)["message"]
    assert workspace.drawer.everyones("adapter") == []


def test_deleting_and_unloading_drop_it_and_the_artifact_stays(door, workspace):
    load(door)
    assert door.delete(f"/v1/models/{NAME}").json() == {"id": NAME, "object": "model", "deleted": True}
    assert held(workspace) == set()
    assert workspace.registry.get("adapter/a@1", verify=True).files
    assert NAME not in {row["id"] for row in door.get("/v1/models").json()["data"]}
    load(door, "a/b c?")
    answer = unload(door, "a/b c?")
    assert (answer.status_code, answer.text) == (200, "Success: LoRA adapter 'a/b c?' removed successfully.")
    assert held(workspace) == set()
    assert error_of(unload(door, "a/b c?"), 404)["code"] == "object_not_found"
    load(door, "a/b c?")
    assert door.delete("/v1/models/a%2Fb%20c%3F").json()["deleted"]


@pytest.mark.parametrize("name", ["smollm2", "minilm", "mainspring", "gpt-4", "gpt-4o", "what only * knows"])
def test_what_is_the_owners_is_not_deleted(door, workspace, name, tmp_path):
    promote(
        workspace, add_assistant(workspace, add_index(workspace, write_documents(tmp_path / "d"))).reference
    )
    load(door)
    assert error_of(door.delete(f"/v1/models/{name}"), 403)["code"] == "model_not_deletable"
    assert error_of(unload(door, name), 404)
    assert held(workspace) == {"adapter/a@1"}


def test_what_nobody_knows_is_not_found(root):
    with opened(root) as (_, app):
        door = TestClient(app, base_url="http://127.0.0.1")
        assert error_of(door.delete(f"/v1/models/{NAME}"), 404)["code"] == "model_not_found"
        say(door, NAME, 404)


def test_the_weights_stay_while_another_name_or_an_assistant_has_them(door, workspace, tmp_path):
    index = add_index(workspace, write_documents(tmp_path / "documents"))
    load(door)
    load(door, "again")
    door.delete("/v1/models/again")
    assert held(workspace) == {"adapter/a@1"}
    promote(workspace, add_assistant(workspace, index, adapter="adapter/a@1").reference)
    say(door, "mainspring")
    door.delete(f"/v1/models/{NAME}")
    assert held(workspace) == {"adapter/a@1"}
    say(door, "mainspring")


def test_an_assistant_that_is_let_go_leaves_the_weights_to_the_name_that_has_them(
    door, workspace, tmp_path, monkeypatch
):
    monkeypatch.setattr("mainspring.app.MAX_ASSISTANTS", 1)
    index = add_index(workspace, write_documents(tmp_path / "documents"))
    load(door)
    for version in (1, 2):
        workspace.assistant(
            add_assistant(workspace, index, adapter=f"adapter/a@{version}", k=version).reference
        )
    assert held(workspace) == {"adapter/a@1", "adapter/a@2"}


def test_a_key_is_asked_for(root):
    with opened(root, key="secret") as (workspace, app):
        door = TestClient(app, base_url="http://127.0.0.1")
        for answer in (load(door), unload(door), door.delete(f"/v1/models/{NAME}")):
            error_of(answer, 401)
        assert workspace.drawer.everyones("adapter") == []


def test_a_server_that_starts_again_serves_it_and_a_replay_is_equal(root, backend, monkeypatch, capsys):
    said = []
    for number in range(2):
        with opened(root, backend=backend) as (workspace, app):
            door = TestClient(app, base_url="http://127.0.0.1")
            if number == 0:
                load(door)
            assert NAME in {row["id"] for row in door.get("/v1/models").json()["data"]}
            said.append(
                door.post("/v1/chat/completions", json={"model": NAME, "messages": USER, **GREEDY}).json()
            )
            workspace.log.flush()
            (span,) = data_of(workspace.log.find(subject=said[-1]["id"]), "span")
            assert span["attributes"][trace.ADAPTER] == "adapter/a@1"
    assert said[0]["choices"] == said[1]["choices"]
    monkeypatch.setattr("sys.argv", ["mainspring", "replay", said[1]["id"], "--workspace", str(root)])
    with pytest.raises(SystemExit) as end:
        main()
    assert (end.value.code or 0, "equal: 12 ids" in capsys.readouterr().out) == (0, True)


@pytest.mark.parametrize("is_loaded_again", [False, True])
def test_a_stream_that_began_with_an_adapter_ends_with_it(root, backend, is_loaded_again):
    with (
        opened(root, backend=backend) as (workspace, app),
        in_background(app) as url,
        httpx2.Client(base_url=url, timeout=60) as door,
    ):
        load(door)
        expected = "".join(stream(door))
        engine = workspace.host(BASE).engine
        engine.after_step = lambda: time.sleep(0.02)  # so that it is under way for a second
        pieces = stream(door)
        said = next(pieces)
        assert door.delete(f"/v1/models/{NAME}").json()["deleted"]
        assert engine._backend.has_adapter("adapter/a@1")
        say(door, NAME, 404)
        if is_loaded_again:
            load(door)
        assert said + "".join(pieces) == expected
        assert becomes(lambda: engine._backend.has_adapter("adapter/a@1") == is_loaded_again)
        say(door, NAME, 200 if is_loaded_again else 404)


def test_a_beam_search_whose_adapter_is_dropped_ends_with_an_error(root):
    with (
        opened(root) as (workspace, app),
        in_background(app) as url,
        httpx2.Client(base_url=url, timeout=60) as door,
        ThreadPoolExecutor(1) as beside,
    ):
        load(door)
        engine, begun = workspace.host(BASE).engine, threading.Event()
        engine.after_step = lambda: (begun.set(), time.sleep(0.02))
        wide = {"model": NAME, "messages": USER, **GREEDY, "max_tokens": 60, "use_beam_search": True, "n": 2}
        answer = beside.submit(door.post, "/v1/chat/completions", json=wide)
        assert begun.wait(30)
        unload(door)
        assert "The adapter adapter/a@1" in error_of(answer.result(30), 404)["message"]
        assert not engine._backend.has_adapter("adapter/a@1")
        engine.after_step = lambda: None
        assert say(door, "smollm2")


@pytest.mark.slow
def test_an_engine_that_died_has_the_adapter_again_and_streams_go_on_with_it(root):
    with (
        opened(root, isolate=True) as (workspace, app),
        in_background(app) as url,
        httpx2.Client(base_url=url, timeout=60) as door,
    ):
        load(door)
        load(door, "gone", "adapter/a@2")
        unload(door, "gone")
        tuned, expected = say(door, NAME), "".join(stream(door, 300))
        pieces = stream(door, 300)
        said = next(pieces)
        engine = workspace.remote_host(BASE).engine
        before = engine._life.process.pid
        os.kill(before, signal.SIGKILL)
        assert said + "".join(pieces) == expected
        assert becomes(lambda: engine._life.process.pid != before)
        assert (say(door, NAME), set(engine._adapters)) == (tuned, {"adapter/a@1"})
        assert tuned != say(door, "smollm2")
        pieces = stream(door, 300)
        said = next(pieces)
        unload(door)
        assert said + "".join(pieces) == expected


def stream(door, num_tokens=60):
    """The texts of a long answer, as they come."""
    body = {"model": NAME, "messages": USER, **GREEDY, "max_tokens": num_tokens, "stream": True}
    with door.stream("POST", "/v1/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                assert "error" not in event, event
                if text := event["choices"][0]["delta"].get("content"):
                    yield text


def becomes(is_so):
    end = time.monotonic() + 30
    while not is_so() and time.monotonic() < end:
        time.sleep(0.01)
    return is_so()
