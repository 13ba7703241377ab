"""A folder with a file of every format, and a bad one of each kind, through the index."""

import json

import pytest

from fakes_documents import column, docx, eml, encrypted_pdf, pdf, pptx, xlsx, zip_bomb
from mainspring.app import Workspace
from mainspring.data.parse import contained
from mainspring.knowledge.scope import Scope

SAID = "The lamp of the harbour turns"
GOOD = {
    "a.md": f"# A\n\n{SAID}".encode(),
    "b.rst": f"B\n=\n\n{SAID}".encode(),
    "c.txt": SAID.encode("utf-16"),
    "d.html": f"<title>D</title><p>{SAID}<script>x</script>".encode(),
    "e.pdf": pdf(column(SAID)),
    "f.docx": docx(SAID),
    "g.pptx": pptx(("G", SAID)),
    "h.xlsx": xlsx([["what"], [SAID]]),
    "i.eml": eml(text=SAID),
    "j.csv": f"what,where\n{SAID},here\n".encode(),
    "k.tsv": f"what\twhere\n{SAID}\there\n".encode(),
    "l.json": json.dumps({"what": SAID}).encode(),
    "m.jsonl": json.dumps({"what": SAID}).encode(),
    "n.py": f'def a():\n    """{SAID}"""\n'.encode(),
    "o.rs": f"// {SAID}\nfn a() {{}}\n".encode(),
}
BAD = {
    "a.md": (b"Stra\xdfe", "byte 4 is 0xDF"),
    "b.rst": (b"", "is empty"),
    "c.txt": (b"a\0b", "NUL"),
    "d.html": (b"<script>x</script>", "holds no text"),
    "e.pdf": (encrypted_pdf(), "is encrypted"),
    "e2.pdf": (pdf([]), "only pictures"),
    "f.docx": (zip_bomb(), "inflates to 1,000,000,000 bytes"),
    "g.pptx": (docx("x"), "is no presentation"),
    "h.xlsx": (b"no zip", "no intact office file"),
    "i.eml": (b"Hello.", "is no e-mail"),
    "j.csv": (b'a,"b', "line 1"),
    "k.tsv": (b"\x96\t", "byte 0 is 0x96"),
    "l.json": (b"{", "not JSON"),
    "m.jsonl": (b"{}\n{", "line 2"),
    "n.py": (b"\xff", "byte 0 is 0xFF"),
    "o.jpg": (b"\xff\xd8", "the suffix '.jpg' are not read; .md .markdown"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for name, data in GOOD.items():
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(data)
    return tmp_path / "folder"


@pytest.mark.slow
def test_good_files_are_taken_in_and_bad_ones_listed_with_their_reasons(run, root, folder):
    (folder / "bad").mkdir()
    for name, (data, _) in BAD.items():
        (folder / "bad" / name).write_bytes(data)
    code, out, error = run("index", folder, "--workspace", root, "--json")
    assert code == 0, error
    said = json.loads(out)
    assert said["added"] == sorted(GOOD)
    assert [entry["name"] for entry in said["rejected"]] == [f"bad/{name}" for name in sorted(BAD)]
    for entry in said["rejected"]:
        assert BAD[entry["name"].removeprefix("bad/")][1] in entry["reason"]
    with Workspace(root) as workspace:
        found = {
            entry.chunk.document for entry in workspace.store().chunks(Scope()) if SAID in entry.chunk.text
        }
    assert found == set(GOOD)
    again = json.loads(run("index", folder, "--workspace", root, "--json")[1])
    assert (again["unchanged"], again["embedded"]) == (sorted(GOOD), 0)


def test_what_one_document_may_cost_is_a_setting(run, root, folder):
    (folder / "e3.pdf").write_bytes(pdf(*[column(SAID)] * 4))
    code, out, _ = run("index", folder, "-o", "limits.max_pages=3", "--workspace", root, "--json")
    assert code == 0
    ((entry),) = json.loads(out)["rejected"]
    assert entry["name"] == "e3.pdf"
    assert "has 4 pages; 3 are the most" in entry["reason"]


def test_where_an_extra_is_missing_its_files_are_rejected_and_the_others_indexed(
    run, root, folder, tmp_path, monkeypatch
):
    for package in ("pypdfium2", "docx", "pptx", "openpyxl"):
        (tmp_path / "without" / package).mkdir(parents=True)
        (tmp_path / "without" / package / "__init__.py").write_text("raise ImportError('hidden')")
    monkeypatch.syspath_prepend(tmp_path / "without")
    contained._end_all()
    code, out, _ = run("index", folder, "--workspace", root, "--json")
    contained._end_all()
    said = json.loads(out)
    assert code == 0
    missing = {
        "e.pdf": "pypdfium2", "f.docx": "python-docx", "g.pptx": "python-pptx", "h.xlsx": "openpyxl",
    }  # fmt: skip
    assert {entry["name"]: entry["reason"] for entry in said["rejected"]} == {
        name: f"Reading {name} needs the package '{package}', which is not installed: pip install 'mainspring[docs]'"
        for name, package in missing.items()
    }
    assert said["added"] == sorted(set(GOOD) - set(missing))
