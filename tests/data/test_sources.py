import importlib.metadata

import pytest

from mainspring.data.sources import Rejected, Source, folder, packages
from mainspring.errors import DocumentError


def test_a_folder_gives_its_documents_by_name_and_lists_what_it_does_not_read(tmp_path):
    (tmp_path / "b.md").write_text("B")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.TXT").write_text("A")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / ".hidden.md").write_text("no")
    found = folder(tmp_path)
    assert [(entry.name, type(entry)) for entry in found] == [
        ("b.md", Source),
        ("photo.jpg", Rejected),
        ("sub/a.TXT", Source),
    ]


def test_a_file_over_the_limit_is_listed_without_being_read(tmp_path):
    (tmp_path / "good.md").write_text("Good.")
    huge = tmp_path / "huge.md"
    with huge.open("wb") as stream:
        stream.truncate(1_000)
    huge.chmod(0)
    rejected = [entry for entry in folder(tmp_path, max_bytes=100) if isinstance(entry, Rejected)]
    assert [(entry.name, "1,000 bytes" in entry.reason) for entry in rejected] == [("huge.md", True)]


@pytest.mark.parametrize(("files", "told"), [((), "it is empty"), (("a.jpg", "b.jpg"), "2 x .jpg")])
def test_a_folder_without_readable_documents_says_what_it_holds_and_what_is_read(tmp_path, files, told):
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DocumentError, match=told) as caught:
        folder(tmp_path)
    assert ".md .markdown .rst .txt" in str(caught.value)


def test_a_path_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(DocumentError, match="is not a folder"):
        folder(tmp_path / "nowhere")


def test_a_file_that_is_gone_when_it_is_read_is_a_document_error(tmp_path):
    with pytest.raises(DocumentError, match="cannot be read"):
        Source(name="x.md", format="markdown", path=tmp_path / "x.md").read(100)


def install(monkeypatch, folder_path, name, requires=(), text="Some words."):
    info = folder_path / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        "Version: 1",
        "Description-Content-Type: text/markdown",
    ]
    lines += [f"Requires-Dist: {line}" for line in requires]
    (info / "METADATA").write_text("\n".join(lines) + f"\n\n{text}")


def test_packages_follow_requirements_markers_and_extras_and_nothing_else(monkeypatch, tmp_path):
    for name, requires, text in [
        ("zzroot", ("zza[fast]", "zznot; python_version<'3'", "zzb; extra=='demo'", "zzmissing"), "Root."),
        ("zza", ("zzc; extra=='fast'", "zzd; extra=='slow'", "zzroot"), "About a."),
        ("zzb", (), ""), ("zzc", (), "About c."), ("zzd", (), "About d."),
        ("zznot", (), "No."), ("zzother", (), "No."),
    ]:  # fmt: skip
        install(monkeypatch, tmp_path, name, requires, text)
    monkeypatch.syspath_prepend(tmp_path)
    found = packages("zzroot", ("demo",))
    assert [(entry.name, type(entry)) for entry in found] == [
        ("zza", Source),
        ("zzb", Rejected),
        ("zzc", Source),
    ]
    assert [entry.name for entry in packages("zzroot", ())] == ["zza", "zzc"]
    with pytest.raises(DocumentError, match="'zznowhere' is not installed"):
        packages("zznowhere")


def test_the_installed_packages_descriptions_are_readable():
    found = packages("starlette", ())
    assert importlib.metadata.metadata("anyio")["Name"] in [entry.name for entry in found]
    for entry in found:
        assert isinstance(entry, Source)
        assert len(entry.parse(entry.read(10**7), 10**7).text) > 100
