import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from mainspring import artifact as artifacts
from mainspring.errors import ChecksumError, NotFoundError


def write(root, text="spring", **options):
    def fill(folder):
        (folder / "part").mkdir()
        (folder / "part" / "a.txt").write_text(text, encoding="utf-8")
        (folder / "b.bin").write_bytes(b"\0" * 1000)

    return artifacts.write(root, "dataset", "small", fill, **options)


def test_what_was_written_is_read_back(tmp_path):
    written = write(
        tmp_path, config={"rows": 3}, parents={"model": "model/x@1"}, license="MIT", card="Small."
    )
    assert artifacts.read(tmp_path, "dataset", "small", 1) == written
    assert written.reference == "dataset/small@1"
    assert set(written.files) == {"part/a.txt", "b.bin"}
    assert written.files["b.bin"].size_bytes == 1000
    assert list(artifacts.list_all(tmp_path)) == [("dataset", "small", 1)]


def test_a_folder_that_is_being_written_is_not_looked_into(tmp_path):
    write(tmp_path)
    half = tmp_path / f".writing-{os.getpid()}-0" / "a" / "1"
    half.mkdir(parents=True)
    (half / artifacts.MANIFEST).write_text("{}")
    assert list(artifacts.list_all(tmp_path)) == [("dataset", "small", 1)]


def test_the_fingerprint_depends_on_what_decides_behavior_and_on_nothing_else(tmp_path):
    first, same = write(tmp_path, card="one"), write(tmp_path, card="two")
    others = [write(tmp_path, "other"), write(tmp_path, config={"x": 1}), write(tmp_path, parents={"a": "b"})]
    assert first.fingerprint == same.fingerprint
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 4


@pytest.mark.parametrize("damage", ["edited", "truncated", "missing"])
def test_a_file_that_is_not_the_one_written_is_named(tmp_path, damage):
    path = write(tmp_path).folder(tmp_path) / "b.bin"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"\1" + b"\0" * 999 if damage == "edited" else b"\0" * 999)
    expected = "missing" if damage == "missing" else "not the file written"
    with pytest.raises(ChecksumError, match=rf"b\.bin of dataset/small@1 is {expected}"):
        artifacts.read(tmp_path, "dataset", "small", 1)


def test_a_damaged_manifest_and_a_missing_artifact_are_told_apart(tmp_path):
    manifest = write(tmp_path).folder(tmp_path) / artifacts.MANIFEST
    manifest.write_text(manifest.read_text(encoding="utf-8")[:50], encoding="utf-8")
    with pytest.raises(ChecksumError, match=r"manifest\.json is damaged"):
        artifacts.read(tmp_path, "dataset", "small", 1)
    with pytest.raises(NotFoundError, match="no dataset/small@2"):
        artifacts.read(tmp_path, "dataset", "small", 2)


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def fill(folder):
        (folder / "half").write_text("x", encoding="utf-8")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        artifacts.write(tmp_path, "dataset", "small", fill)
    assert list(tmp_path.rglob("*")) == []


def test_a_killed_writer_leaves_nothing_readable_and_is_swept(tmp_path):
    script = """
        import sys, time
        from pathlib import Path
        from mainspring import artifact
        def fill(folder):
            (folder / "half").write_text("x")
            print("writing", flush=True)
            time.sleep(60)
        artifact.write(Path(sys.argv[1]), "dataset", "small", fill)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "writing\n"
        assert artifacts.sweep(tmp_path) == 0  # it still lives
        writer.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.glob(".writing-*"))) == 1
    assert list(artifacts.list_all(tmp_path)) == []
    assert artifacts.sweep(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []


def _write_some(root, start):
    start.wait()
    for number in range(5):
        write(root, f"{os.getpid()} {number}")


def test_two_writers_at_once_get_different_versions(tmp_path):
    context = multiprocessing.get_context("fork")
    start = context.Barrier(2)
    writers = [context.Process(target=_write_some, args=(tmp_path, start)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    versions = [version for _, _, version in artifacts.list_all(tmp_path)]
    assert versions == list(range(1, 11))
    prints = {artifacts.read(tmp_path, "dataset", "small", version).fingerprint for version in versions}
    assert len(prints) == 10


def test_the_order_of_keys_does_not_change_a_fingerprint():
    assert artifacts.fingerprint_of({"a": 1, "b": [2]}) == artifacts.fingerprint_of({"b": [2], "a": 1})
