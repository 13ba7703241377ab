import sys

import pytest

from fakes_workspace import add_models, write_documents
from mainspring.app import Workspace
from mainspring.cli import main


@pytest.fixture
def root(tmp_path):
    """A workspace that holds two tiny models under the names of the real ones."""
    with Workspace(tmp_path / "workspace") as workspace:
        add_models(workspace)
    return tmp_path / "workspace"


@pytest.fixture
def documents(tmp_path):
    return write_documents(tmp_path / "documents")


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a verb as the entry point does; gives its exit code, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["mainspring", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
