import os

import pytest

from fakes_feeds import documents, read_all, read_in_pool
from mainspring.data.document import Document
from mainspring.data.feeds.base import make
from mainspring.data.sources import Rejected
from mainspring.errors import DocumentError


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "docs"
    (root / "sub").mkdir(parents=True)
    (root / "b.md").write_text("# Title\n\nSome *words*.")
    (root / "sub" / "a.txt").write_text("Plain words.")
    (root / "photo.jpg").write_bytes(b"\xff\xd8")
    (root / "broken.txt").write_bytes(b"pat\xe9")
    (root / ".hidden.md").write_text("no")
    return root


def test_a_folder_gives_a_document_a_file_and_rejects_the_others_with_their_reasons(folder):
    found = read_all({"kind": "files", "path": str(folder)})
    assert [(each.id if isinstance(each, Document) else each.name) for each in found] == [
        "docs/b.md", "docs/broken.txt", "docs/photo.jpg", "docs/sub/a.txt",
    ]  # fmt: skip
    assert found[0].text == "Title\n\nSome words."
    assert (found[0].source, found[0].group) == ("docs", "docs/b.md")
    assert found[0].meta == {"format": "markdown", "title": "Title"}
    assert isinstance(found[1], Rejected)
    assert "UTF-8" in found[1].reason
    assert "suffix '.jpg'" in found[2].reason


def test_patterns_include_and_exclude_files_and_star_matches_folders_too(folder):
    settings = {"kind": "files", "path": str(folder), "include": ["*.md", "sub/*"], "exclude": ["*/a.*"]}
    assert [each.id for each in documents(settings)] == ["docs/b.md"]
    with pytest.raises(DocumentError, match="None of the 4 files"):
        make({"kind": "files", "path": str(folder), "include": ["*.pdf"]})


def test_a_single_file_and_a_pattern_are_sources_too(folder):
    assert [each.id for each in documents({"kind": "files", "path": str(folder / "b.md")})] == ["b.md"]
    named = {"kind": "files", "path": str(folder / "**" / "*.txt"), "name": "mine", "exclude": ["broken*"]}
    assert [each.id for each in documents(named)] == ["mine/sub/a.txt"]


@pytest.mark.parametrize(
    ("path", "told"), [("nowhere", "no file or folder"), ("*.md", "No file matches"), ("empty", "is empty")]
)
def test_a_path_that_leads_to_nothing_is_refused(tmp_path, path, told):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DocumentError, match=told):
        make({"kind": "files", "path": str(tmp_path / path)})


@pytest.mark.slow
def test_small_files_share_parts_and_parts_are_read_alike_in_a_pool(tmp_path):
    for i in range(20):
        (tmp_path / f"{i:02}.txt").write_text(f"Words of file {i}. " * 10)
    settings = {"kind": "files", "path": str(tmp_path), "part_bytes": 1_000}
    feed = make(settings)
    assert 3 <= len(feed.parts()) <= 5
    assert read_in_pool(feed) == documents({**settings, "part_bytes": 10**9})


def test_a_document_over_the_limit_or_gone_is_rejected_and_the_others_are_read(folder):
    feed = make({"kind": "files", "path": str(folder), "max_bytes": 15})
    (part,) = feed.parts()
    (folder / "broken.txt").unlink()
    found = list(feed.read(part))
    assert [isinstance(each, Rejected) for each in found] == [True, True, True, False]
    assert "documents may have 15" in found[0].reason
    assert "No such file" in found[1].reason


def test_the_fingerprint_follows_what_decides_the_documents_and_nothing_else(folder):
    settings = {"kind": "files", "path": str(folder)}
    first = make(settings).fingerprint()
    assert make({**settings, "part_bytes": 5}).fingerprint() == first
    moved = folder.rename(folder.parent / "elsewhere")
    assert make({"kind": "files", "path": str(moved), "name": "docs"}).fingerprint() == first
    assert (
        make({"kind": "files", "path": str(moved), "name": "docs", "split": "paragraph"}).fingerprint()
        != first
    )
    os.utime(moved / "b.md", ns=(1, 1))
    assert make({"kind": "files", "path": str(moved), "name": "docs"}).fingerprint() != first


def test_a_plain_file_is_split_at_separator_lines_and_kept_to_the_character(tmp_path):
    file = tmp_path / "stories.txt"
    file.write_bytes(
        b"\xef\xbb\xbfOne\r\n\tday  \r\n***\r\n<|endoftext|>\r\n\r\n<|endoftext|>\nTwo\xc3\xa9\n"
    )
    found = documents({"kind": "files", "path": str(file), "split": "<|endoftext|>"})
    assert [each.text for each in found] == ["One\n\tday  \n***", "Twoé"]
    assert [each.id for each in found] == [
        "stories.txt#byte=3",
        f"stories.txt#byte={file.read_bytes().index(b'Two')}",
    ]
    assert {each.group for each in found} == {"stories.txt"}
    alone = documents({"kind": "files", "path": str(file), "split": "<|endoftext|>", "group": "document"})
    assert {each.group for each in alone} == {""}


def test_only_plain_text_is_split_and_the_order_of_files_stays(tmp_path):
    (tmp_path / "a.md").write_text("x\n\ny")
    (tmp_path / "b.txt").write_text("x\n\ny")
    (tmp_path / "c.md").write_text("x\n\ny")
    found = documents({"kind": "files", "path": str(tmp_path), "split": "paragraph", "name": "n"})
    assert [each.id for each in found] == ["n/a.md", "n/b.txt#byte=0", "n/b.txt#byte=3", "n/c.md"]


def test_bad_documents_within_a_plain_file_are_rejected_one_by_one(tmp_path):
    file = tmp_path / "mixed.txt"
    file.write_bytes(b"good\n\npat\xe9\n\n" + b"long " * 20 + b"\n\nnul\0\n\nfine")
    found = read_all({"kind": "files", "path": str(file), "split": "paragraph", "max_bytes": 50})
    assert [each.text if isinstance(each, Document) else each.name for each in found] == [
        "good", "mixed.txt#byte=6", "mixed.txt#byte=12", "mixed.txt#byte=114", "fine",
    ]  # fmt: skip
    assert [each.reason for each in found if isinstance(each, Rejected)] == [
        "it is not UTF-8 text (its byte 3); convert the file",
        "it has 102 bytes; documents may have 50",
        "it is binary (it holds NUL bytes); text in UTF-8 is expected",
    ]
