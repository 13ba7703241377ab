import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fakes_knowledge import NOTES, HashEmbedder, sources
from mainspring.data.sources import Rejected, Source
from mainspring.errors import BusyError, DocumentError
from mainspring.knowledge.chunk import ChunkSettings
from mainspring.knowledge.scope import Scope
from mainspring.knowledge.store import Store
from mainspring.knowledge.sync import IndexSettings, sync


def test_the_first_sync_stores_every_document_exactly(store, embedder):
    report = sync(store, sources(), embedder, IndexSettings())
    assert (report.version, report.documents, report.added) == (1, 3, ("tea.md", "rail.md", "bread.rst"))
    texts = {document.id: document.text for document in store.documents(Scope())}
    for stored in store.chunks(Scope()):
        chunk = stored.chunk
        assert chunk.text == texts[chunk.document][chunk.start : chunk.end]
    assert {document.title for document in store.documents(Scope())} == {"Tea", "Rail", "Bread"}


def test_a_second_sync_of_the_same_makes_no_version_and_embeds_nothing(store, embedder):
    first = sync(store, sources(), embedder, IndexSettings())
    embedder.texts.clear()
    again = sync(store, sources(), embedder, IndexSettings())
    assert (again.version, again.embedded, again.reused) == (1, 0, first.chunks)
    assert (len(again.unchanged), embedder.texts) == (3, [])


def test_only_what_changed_is_embedded_and_the_old_version_stays_readable(store, embedder):
    sync(store, sources(), embedder, IndexSettings())
    embedder.texts.clear()
    changed = {**NOTES, "tea.md": NOTES["tea.md"].replace("80", "75"), "new.txt": "Something new."}
    del changed["rail.md"]
    report = sync(store, sources(changed), embedder, IndexSettings())
    assert report.version == 2
    assert (report.added, report.changed, report.removed) == (("new.txt",), ("tea.md",), ("rail.md",))
    assert sorted(embedder.texts) == [
        "Tea: Green tea is steeped at 75 degrees. It tastes of grass.",
        "new: Something new.",
    ]
    assert "80 degrees" in store.document("tea.md", Scope(version=1)).text
    assert "75 degrees" in store.document("tea.md", Scope(version=2)).text
    assert {document.id for document in store.documents(Scope(version=1))} == set(NOTES)
    assert {document.id for document in store.documents(Scope())} == {"tea.md", "bread.rst", "new.txt"}


def test_going_back_to_an_older_text_is_a_version_too(store, embedder):
    sync(store, sources(), embedder, IndexSettings())
    sync(store, sources({**NOTES, "tea.md": "Other."}), embedder, IndexSettings())
    assert sync(store, sources(), embedder, IndexSettings()).version == 3
    assert store.document("tea.md", Scope()).text == store.document("tea.md", Scope(version=1)).text


def test_other_cuts_or_another_embedder_make_a_version(store, embedder):
    sync(store, sources(), embedder, IndexSettings())
    smaller = sync(store, sources(), embedder, IndexSettings(chunk=ChunkSettings(max_characters=50)))
    assert (smaller.version, len(smaller.changed)) == (2, 3)
    other = sync(
        store, sources(), HashEmbedder(name="other"), IndexSettings(chunk=ChunkSettings(max_characters=50))
    )
    assert (other.version, len(other.unchanged), other.reused) == (3, 3, 0)


def test_bad_documents_are_listed_and_good_ones_indexed(store, embedder):
    bad = [
        Source(name="bin.md", format="markdown", data=b"\0\1"),
        Source(name="empty.txt", format="plain", data=b" "),
        Source(name="big.txt", format="plain", data=b"x" * 5_000),
        Rejected(name="a.pdf", reason="not read"),
    ]
    report = sync(store, [*bad, *sources()], embedder, IndexSettings(max_bytes=1_000))
    assert report.documents == 3
    assert [entry.name for entry in report.rejected] == ["bin.md", "empty.txt", "big.txt", "a.pdf"]
    with pytest.raises(DocumentError, match="None of 4 documents can be read"):
        sync(store, bad, embedder, IndexSettings(max_bytes=1_000))
    assert len(store.documents(Scope())) == 3


def test_tenants_do_not_see_each_other(store, embedder):
    sync(store, sources(), embedder, IndexSettings(), tenant="a")
    sync(store, sources({"b.txt": "For b alone."}), embedder, IndexSettings(), tenant="b")
    assert [document.id for document in store.documents(Scope(tenant="b"))] == ["b.txt"]
    assert "b.txt" not in [document.id for document in store.documents(Scope(tenant="a"))]


KILLED = """
import os, signal, sys
sys.path[:0] = [{here!r}, {src!r}]
from pathlib import Path
from fakes_knowledge import HashEmbedder, sources
from mainspring.knowledge.store import Store
from mainspring.knowledge.sync import IndexSettings, sync

class Dying(HashEmbedder):
    def embed(self, texts, *, advance=None):
        if len(self.texts) >= 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed(texts, advance=advance)

sync(Store(Path({path!r})), sources(), Dying(), IndexSettings(batch_size=1))
"""


def test_a_killed_sync_leaves_no_version_and_the_next_one_goes_on(tmp_path, capsys):
    path = tmp_path / "knowledge.sqlite"
    here, src = str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "src")
    script = textwrap.dedent(KILLED).format(here=here, src=src, path=str(path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = Store(path)
    assert store.latest() == 0
    report = sync(store, sources(), HashEmbedder(), IndexSettings())
    assert (report.version, report.reused) == (1, 2)
    assert report.embedded == report.chunks - 2
    assert f"2 of {report.chunks} embeddings are already there" in capsys.readouterr().err
    store.close()


def test_a_second_writer_waits_saying_so_and_gives_up_in_the_end(store, embedder, capsys):
    with Store(store.path).writing(1), pytest.raises(BusyError, match="still being written"):
        sync(store, sources(), embedder, IndexSettings(wait_s=0.2))
    assert "waiting up to" in capsys.readouterr().err
    assert sync(store, sources(), embedder, IndexSettings(wait_s=0)).version == 1


def test_readers_read_while_a_writer_writes(store, embedder):
    sync(store, sources(), embedder, IndexSettings())
    reader = Store(store.path)
    with store.writing(1):
        assert len(reader.documents(Scope())) == 3
    assert store.path.with_name(store.path.name + ".lock").exists()
    reader.close()
