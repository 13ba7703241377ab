"""A workspace opened: what it keeps, finds again and shows at the door."""

import pytest

from fakes_workspace import (
    add_adapter,
    add_assistant,
    add_index,
    add_model,
    add_models,
    other_process,
    word_tokenizer,
    write_documents,
    write_much,
)
from mainspring.adapt.base import adapters_of
from mainspring.app import Workspace
from mainspring.directory import Door
from mainspring.errors import ConfigError, NotFoundError
from mainspring.flywheel.promote import promote
from mainspring.infer.request import EngineConfig
from mainspring.knowledge.scope import Scope

COUNT = 12


@pytest.fixture
def workspace(tmp_path):
    with Workspace(tmp_path / "workspace") as workspace:
        add_models(workspace)
        yield workspace


@pytest.fixture
def documents(tmp_path):
    return write_documents(tmp_path / "documents")


@pytest.fixture
def base(workspace, documents):
    assistant = add_assistant(workspace, add_index(workspace, documents))
    promote(workspace, assistant.reference)
    return assistant


def test_the_same_configuration_is_the_same_version(workspace):
    first = workspace.save("prompt", "p", {"a": 1}, {})
    other = workspace.save("prompt", "p", {"a": 2}, {})
    assert (first.version, other.version) == (1, 2)
    assert workspace.save("prompt", "p", {"a": 1}, {}) == first
    assert workspace.save("prompt", "p", {"a": 1}, {"model": "model/smollm2@1"}).version == 3
    assert workspace.save("prompt", "q", {"a": 1}, {}).reference == "prompt/q@1"


def test_a_kernel_plan_is_probed_once_a_machine(workspace, monkeypatch):
    plan = workspace.host("model/smollm2").engine.plan
    (reference,) = workspace.registry.list("kernel-plan")
    assert workspace.registry.get(reference).parents == {"model": "model/smollm2@1"}
    with Workspace(workspace.root) as again:
        assert again.host("model/smollm2@1").engine.plan == plan
        assert again.registry.list("kernel-plan") == [reference]
    monkeypatch.setattr("mainspring.device.describe", lambda: "another machine")
    with Workspace(workspace.root) as moved:
        assert moved.host("model/smollm2").engine.plan.machine == "another machine"
        assert len(moved.registry.list("kernel-plan")) == 2


def test_a_kernel_plan_is_kept_for_every_way_to_multiply(workspace, capsys):
    packed = []
    for products in ("packed", "plain", "packed"):
        with Workspace(workspace.root, engine=EngineConfig(products=products)) as opened:
            packed.append(opened.host("model/smollm2").engine.plan.packed)
    assert packed[0] == packed[2] != packed[1] == ()
    assert len(workspace.registry.list("kernel-plan")) == 2
    assert "packed weights: none" in capsys.readouterr().err


def test_an_index_names_the_embedder_that_made_it(workspace, documents):
    assert add_index(workspace, documents).parents == {"embedder": "model/minilm@1"}
    add_model(workspace, "minilm", "bert", word_tokenizer())
    with Workspace(workspace.root) as again:
        assert add_index(again, documents).parents == {"embedder": "model/minilm@2"}


def test_an_assistant_is_made_once_and_a_moved_label_means_another(workspace, base):
    assert workspace.assistant() is workspace.assistant(base.reference)
    spec = workspace.spec(base.reference)
    other = workspace.save_assistant(spec.model_copy(update={"threshold": 0.5}))
    workspace.registry.label(other, "production", "test")
    assert (
        workspace.assistant()
        is workspace.assistant(other.reference)
        is not workspace.assistant(base.reference)
    )


def test_versions_that_nobody_asks_for_any_more_take_their_adapters_along(workspace, base, monkeypatch):
    monkeypatch.setattr("mainspring.app.MAX_ASSISTANTS", 2)
    spec, names = workspace.spec(base.reference), []
    one, two, three = (add_adapter(workspace, seed) for seed in (1, 2, 3))
    for adapter in (one, one, two, three):
        names.append(
            workspace.save_assistant(
                spec.model_copy(update={"adapter": adapter, "k": len(names) + 1})
            ).reference
        )
    loaded = adapters_of(workspace.host("model/smollm2").engine.model).configs
    told = []
    for name in (*names, names[0]):
        workspace.assistant(name)
        told.append(sorted(each.rsplit("@")[-1] for each in loaded))
    assert told == [["1"], ["1"], ["1", "2"], ["2", "3"], ["1", "3"]]


def test_an_assistant_of_unknown_settings_is_refused(workspace):
    workspace.save("assistant", "mainspring", {"model": "model/smollm2@1", "temperature": 1}, {})
    with pytest.raises(ConfigError, match="temperature"):
        workspace.spec("assistant/mainspring")


def test_the_door_lists_what_can_be_asked(tmp_path, documents):
    with Workspace(tmp_path / "workspace") as workspace:
        door = Door(workspace)
        assert (door.names(), door.embedder_names()) == ([], [])
        add_models(workspace)
        assert (door.names(), door.embedder_names()) == (["smollm2"], ["minilm"])
        add_model(workspace, "judge", "bert", word_tokenizer(), head="classify")
        assert (door.names(), door.reranker_names()) == (["smollm2"], ["judge"])
        assert door.reranker("judge").scores("tower", ["lamp", "tower"]).shape == (2,)
        assistant = add_assistant(workspace, add_index(workspace, documents))
        assert door.names() == ["smollm2"]  # saved is not served
        promote(workspace, assistant.reference)
        assert door.names() == ["mainspring", "smollm2"]
        door.warm()
        assert door.health() is None


def test_the_door_names_what_there_is_where_a_name_is_unknown(workspace, base):
    door = Door(workspace)
    with pytest.raises(NotFoundError, match=r"'gpt'.*mainspring, smollm2"):
        door.chat("gpt", Scope())
    with pytest.raises(NotFoundError, match=r"'ada'.*minilm"):
        door.embedder("ada")
    assert door.embedder("minilm") is workspace.embedder


def test_a_plain_model_behind_the_door_is_sampled_as_published_and_the_assistant_as_it_was_made(
    workspace, base
):
    door = Door(workspace)
    assert door.chat("smollm2", Scope()).default_sampling.temperature == 1.0
    assert door.chat("mainspring", Scope()).default_sampling == workspace.assistant().default_sampling


def test_a_document_is_shown_as_the_index_in_production_has_it(workspace, base, documents):
    door = Door(workspace)
    before = door.document("lamp.txt", Scope())
    (documents / "lamp.txt").write_text("The lamp turns every 99 seconds.\n")
    (documents / "new.md").write_text("# New\n\nThe spring.\n")
    add_index(workspace, documents)
    assert door.document("lamp.txt", Scope()) == before
    assert "12 seconds" in before[1]
    with pytest.raises(NotFoundError, match=r"new.md"):
        door.document("new.md", Scope())


def test_a_dead_engine_is_bad_health(workspace, base):
    door = Door(workspace)
    door.warm()
    workspace.host("model/smollm2").engine.close()
    assert "model/smollm2@1" in (door.health() or "")


@pytest.mark.slow
def test_two_processes_that_write_at_once_lose_nothing(workspace):
    names = ("one", "two")
    both = [other_process(write_much, workspace.root, name, COUNT) for name in names]
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    with Workspace(workspace.root) as after:
        for name in names:
            numbers = [event.data["number"] for event in after.log.find(type="test", subject=name)]
            assert numbers == list(range(COUNT))
        references = after.registry.list("prompt")
        assert references == [f"prompt/shared@{version}" for version in range(1, 2 * COUNT + 1)]
        configs = [after.registry.get(reference, verify=True).config for reference in references]
        for name in names:
            assert [config[name] for config in configs if name in config] == list(range(COUNT))
