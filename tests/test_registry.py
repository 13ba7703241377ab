import threading

import pytest

from mainspring import artifact as artifacts
from mainspring import registry as registries
from mainspring.database import Database
from mainspring.errors import ChecksumError, NotFoundError, UserError
from mainspring.registry import Registry


def make(registry, name="small", kind="dataset", **options):
    def fill(folder):
        (folder / "a.txt").write_text(name, encoding="utf-8")

    return registry.add(artifacts.write(registry.root, kind, name, fill, **options))


def test_an_artifact_is_found_by_version_by_label_and_as_the_newest(registry):
    first, second = make(registry), make(registry)
    registry.label(first, "production", "good")
    assert registry.get("dataset/small@1") == first
    assert registry.get("dataset/small@production") == first
    assert registry.get("dataset/small") == second
    assert registry.list("dataset") == ["dataset/small@1", "dataset/small@2"]
    assert registry.list("model") == []


def test_what_is_not_there_is_told_with_what_is(registry):
    make(registry)
    for reference in ("dataset/other", "dataset/small@staging"):
        with pytest.raises(NotFoundError, match="there is dataset/small@1"):
            registry.get(reference)
    with pytest.raises(NotFoundError, match="there is no model at all"):
        registry.get("model/x")
    with pytest.raises(UserError, match="'small' does not name an artifact"):
        registry.get("small")
    assert registry.has("dataset/small")
    assert not registry.has("dataset/small@7")


def test_an_edited_file_is_found_when_verification_is_asked_for(registry):
    made = make(registry)
    (registry.folder(made) / "a.txt").write_text("edited", encoding="utf-8")
    assert registry.get("dataset/small@1") == made
    with pytest.raises(ChecksumError, match=r"a\.txt"):
        registry.get("dataset/small@1", verify=True)


def test_a_label_moves_and_every_move_is_kept(registry):
    first, second = make(registry), make(registry)
    registry.label(first, "production", "first")
    registry.label(second, "production", "better")
    registry.label(first, "production", "rolled back")
    assert registry.labelled("dataset", "small", "production") == 1
    assert registry.labelled("dataset", "small", "staging") is None
    moves = [(move.version, move.reason) for move in registry.history("dataset", "small")]
    assert moves == [(1, "first"), (2, "better"), (1, "rolled back")]


def test_readers_see_the_old_or_the_new_version_while_a_label_moves(registry):
    both = [make(registry), make(registry)]
    registry.label(both[0], "production", "first")
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            seen.add(registry.get("dataset/small@production").version)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(40):
        registry.label(both[turn % 2], "production", str(turn))
    done.set()
    reader.join()
    assert seen <= {1, 2}
    assert seen
    assert len(registry.history("dataset", "small")) == 41


def test_what_a_killed_process_published_but_did_not_register_is_found_at_the_next_start(registry, tmp_path):
    artifacts.write(registry.root, "dataset", "late", lambda folder: None)
    again = Registry(Database(tmp_path / "registry.sqlite", [registries.MIGRATION]), registry.root)
    assert again.list() == ["dataset/late@1"]


def test_lineage_names_all_ancestors(registry):
    model = make(registry, "base", "model")
    data = make(registry)
    adapter = make(
        registry, "tuned", "adapter", parents={"model": model.reference, "dataset": data.reference}
    )
    assistant = make(registry, "helper", "assistant", parents={"adapter": adapter.reference})
    assert registry.lineage(assistant.reference) == {
        "assistant/helper@1": {"adapter": "adapter/tuned@1"},
        "adapter/tuned@1": {"dataset": "dataset/small@1", "model": "model/base@1"},
        "model/base@1": {},
        "dataset/small@1": {},
    }
