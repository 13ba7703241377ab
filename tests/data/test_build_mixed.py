"""A folder of everything, rows and packages, through all rules that need no training: the real parts together."""

import importlib.metadata

import pytest

from fakes_build import lines
from fakes_documents import column, docx, encrypted_pdf, pdf
from mainspring.data.rules.base import RULES

PROSE = (
    "The keeper of the old tower wound the great spring every morning, and he wrote the hour in a book. "
    "When the people of the town asked him what the time was, he looked at the sun and not at the clock. "
    "They thought that he was a strange man, but they liked him, because the clock had never been wrong. "
    "After many years the spring broke, and with it the habit of the town to be where it had to be in time. "
)
PAGE = f"<html><body><nav><a href='/'>Home</a></nav><article><h1>The tower</h1><p>{PROSE}</p></article></body></html>"
TRAINED = {"quality"}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "mixed"
    (root / "deeper").mkdir(parents=True)
    (root / "tower.md").write_text(f"# The tower\n\n{PROSE}\n\n{PROSE.upper()}\n")
    (root / "copy.txt").write_text(
        PROSE + "Another sentence of a later day, which says that it is not quite so."
    )
    (root / "broken.txt").write_text(
        "The café of the tower was cafÃ© to those who read it with the wrong eyes. " + PROSE
    )
    (root / "short.txt").write_text("Too short.")
    (root / "empty.txt").write_text("")
    (root / "picture.bin").write_bytes(bytes(range(256)))
    (root / "locked.pdf").write_bytes(encrypted_pdf())
    (root / "page.html").write_text(PAGE)
    (root / "mail.txt").write_text(f"{PROSE} Write to keeper@tower.example or call him if the clock stops.")
    (root / "deeper" / "report.pdf").write_bytes(pdf(column(PROSE.replace(". ", ".\n").replace(", ", ",\n"))))
    (root / "deeper" / "letter.docx").write_bytes(docx(*(PROSE + str(n) for n in range(2))))
    (root / "deeper" / "rows.jsonl").write_text('{"text": "not read as a row here"}\n')
    return root


@pytest.mark.slow
def test_a_mixed_folder_is_built_by_all_rules_on_two_workers_as_by_one(bench, folder):
    rules = [name for name in RULES if name not in (*TRAINED, "short", "quiet", "note", "broken", "deadly")]
    recipe = {
        "name": "mixed",
        "sources": [
            {"kind": "files", "path": str(folder), "part_bytes": 2000},
            {"kind": "rows", "name": "rows", "path": str(folder / "deeper" / "rows.jsonl")},
            {"kind": "packages"},
        ],
        "rules": rules,
        "dedup": {"exact": True, "near": True, "spans": True},
        "split": {"fractions": {"train": 0.9, "validation": 0.1}},
    }
    built = bench.build({**recipe, "executor": {"workers": 2}})
    assert bench.build({**recipe, "executor": {"workers": 1}}).is_new is False
    report = built.report
    unreadable = {
        each["id"] for each in lines(bench.folder(built) / "dropped.jsonl") if each["reason"] == "unreadable"
    }
    assert {"mixed/empty.txt", "mixed/picture.bin", "mixed/locked.pdf"} <= unreadable
    assert list(report.steps) == ["read", *rules, "check", "exact", "near", "spans"]
    assert report.sources["mixed"].documents + report.sources["mixed"].unreadable == 12
    packages = {distribution.name for distribution in importlib.metadata.distributions()}
    assert report.sources["packages"].documents > 5 or len(packages) < 10
    changed = {(each["id"], each["rule"]) for each in lines(bench.folder(built) / "changed.jsonl")}
    assert ("mixed/broken.txt", "unicode") in changed
    assert ("mixed/mail.txt", "pii") in changed
    texts = dict(bench.documents(built, "train") + bench.documents(built, "validation"))
    assert not any("keeper@tower.example" in text or "cafÃ©" in text for text in texts.values())
    assert "mixed/short.txt" not in texts
