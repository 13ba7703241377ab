"""What the report counts, and that it believes no citation."""

import json

import pytest

from fakes_workspace import TEXTS, add_index, add_models, write_documents
from mainspring.app import Workspace
from mainspring.demo.report import Report, closing_table, count, write
from mainspring.demo.server import Asked

TEXT = TEXTS["lamp.txt"]


@pytest.fixture
def workspace(tmp_path):
    with Workspace(tmp_path / "workspace") as workspace:
        add_models(workspace)
        add_index(workspace, write_documents(tmp_path / "documents"))
        yield workspace


def asked(kind, *citations):
    answer = {"kind": kind, "citations": list(citations)}
    return Asked(question="?", request="req-1", text="x", answer=answer, began=0.0, ended=1.0)


def citation(start, end, quote, document="lamp.txt", support=0.9):
    return {"document": document, "start": start, "end": end, "quote": quote, "support": support}


def test_answers_are_counted_by_what_they_are(workspace):
    report = Report()
    count(report, workspace, [asked("generated"), asked("extracted"), asked("abstained")], 0.65)
    count(report, workspace, [asked("abstained")], 0.65)
    assert (report.questions, report.answered, report.abstained, report.citations) == (4, 2, 2, 0)


def test_every_citation_is_looked_up_in_the_stored_text(workspace):
    right = citation(4, 8, "lamp")
    weak = citation(0, 8, "The lamp", support=0.5)
    shifted = citation(5, 9, "lamp")
    elsewhere = citation(4, 8, "lamp", document="tower.md")
    nowhere = citation(4, 8, "lamp", document="gone.md")
    report = Report()
    count(
        report,
        workspace,
        [asked("generated", right, weak), asked("generated", shifted, elsewhere, nowhere)],
        0.65,
    )
    assert (report.citations, report.citations_resolved, report.citations_supported) == (5, 2, 4)


def test_the_file_has_every_field_and_skipped_ones_are_null(workspace):
    path = write(Report(documents=2, wall_s={"open": 0.1}), workspace)
    found = json.loads(path.read_text())
    assert path == workspace.root / "demo" / "report.json"
    assert (found["documents"], found["wall_s"], found["gate"], found["parity"]) == (
        2,
        {"open": 0.1},
        None,
        None,
    )
    assert write(Report(), workspace) == path  # a second run replaces it


def test_the_table_names_what_was_made_and_the_next_command(workspace, capsys):
    closing_table(workspace, write(Report(), workspace))
    said = capsys.readouterr()
    words = (said.out + said.err).split()
    assert "model/smollm2@1" in words
    assert "index/default@1" in words
    assert "adapter" not in words  # none was made
