import pytest

from fakes_workspace import add_assistant, add_index, add_models, write_documents
from mainspring.app import Workspace
from mainspring.flywheel.promote import promote


@pytest.fixture
def workspace(tmp_path):
    """Two tiny models and nothing else."""
    with Workspace(tmp_path / "workspace") as workspace:
        add_models(workspace)
        yield workspace


@pytest.fixture
def documents(tmp_path):
    return write_documents(tmp_path / "documents")


@pytest.fixture
def index(workspace, documents):
    return add_index(workspace, documents)


@pytest.fixture
def base(workspace, index):
    """The first assistant, in production."""
    assistant = add_assistant(workspace, index)
    promote(workspace, assistant.reference)
    return assistant
